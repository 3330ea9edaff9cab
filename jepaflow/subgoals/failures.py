"""What to make of a way that did not work: all ways beside it cost more, not that one edge alone.

With hundreds of landmarks a shut door is crossed by dozens of edges, and a plan that only avoids the one that failed tries
the next. So the places around are divided: beyond lies what is near to where the robot wanted to go, and nearer to that than to
where it stands; before lies the rest around it. Every edge from before to beyond is penalised. Each further failure of the
same way is dearer: a random stumble costs a little, a shut door soon costs any detour.

Legend: N landmarks; node N is a start, N + 1 a goal (`attach`).
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from scipy.sparse.csgraph import dijkstra

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.graph import Graph


@dataclass(frozen=True)
class PenaltyConfig:
    """How dear a failure is."""

    first: float = 4.0
    """model steps that a first failure costs"""
    factor: float = 6.0
    """by which each further failure of the same way is dearer"""
    beyond: float = 3.0
    """model steps around where it wanted to go that count as beyond: what one edge may leap"""
    grows: float = 3.0
    """model steps by which a further failure of the same way reaches further, on both sides"""
    before: float = 6.0
    """model steps around where it stands that count as before: who takes a run-up is still there"""

    def __post_init__(self) -> None:
        if min(self.first, self.beyond, self.before) <= 0 or self.factor < 1 or self.grows < 0:
            raise JepaflowError(
                "A penalty and its distances must be positive, its factor at least 1, grows not negative."
            )


@dataclass(frozen=True, eq=False)
class Failure:
    """A way that did not work."""

    before: Bool[ndarray, " N"]
    """landmarks on this side"""
    beyond: Bool[ndarray, " N1"]
    """landmarks on that side; the last place is the goal's"""
    by: float


def failure(graph: Graph, other: int, earlier: list[Failure], config: PenaltyConfig | None = None) -> Failure:
    """Describe a way that failed.

    Args:
        graph: landmarks, the start where the robot stands now, and the goal, without any penalty.
        other: node where it wanted to go.
        earlier: failures of this episode.
        config: see there.
    """
    config = config or PenaltyConfig()
    first = _around(graph, other, config, 0)
    times = sum(_same(first.before, f.before) and _same(first.beyond, f.beyond) for f in earlier)
    return _around(graph, other, config, times)


def _same(one: Bool[ndarray, " n"], other: Bool[ndarray, " n"]) -> bool:
    """Return whether two sets of nodes share half of the smaller one."""
    return bool(2 * (one & other).sum() >= max(1, min(one.sum(), other.sum())))


def _around(graph: Graph, other: int, config: PenaltyConfig, times: int) -> Failure:
    """Divide the places around after so many earlier failures of the same way."""
    n, more = graph.nodes - 2, config.grows * times
    here = dijkstra(graph.matrix, indices=n)
    there = np.minimum(dijkstra(graph.matrix, indices=other), dijkstra(graph.matrix.T.tocsr(), indices=other))
    beyond = (there < here) & (there <= config.beyond + more)
    beyond[other] = True
    before = ~beyond & (here <= config.before + more)
    by = config.first * config.factor**times
    return Failure(before[:n], np.append(beyond[:n], beyond[n + 1]), by)


def penalised(graph: Graph, failures: list[Failure], start_before: Bool[ndarray, " F"]) -> Graph:
    """Return a graph with start and goal in which the ways that failed cost more.

    Args:
        graph: the landmarks with a start and a goal, perhaps other ones than those of the failures.
        failures: F of this episode.
        start_before: whether the start lies before each of them.
    """
    cost = graph.cost.copy()
    for each, standing in zip(failures, start_before, strict=True):
        before = np.append(each.before, [standing, False])
        beyond = np.append(each.beyond[:-1], [False, each.beyond[-1]])
        cost += each.by * (before[graph.source] & beyond[graph.indices])
    return replace(graph, cost=cost)
