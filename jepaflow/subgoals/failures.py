"""What to make of a way that did not work: all ways beside it cost more, not that one edge alone.

With hundreds of landmarks a shut door is crossed by dozens of edges, and a plan that only avoids the one that failed tries
the next. So the places around are divided: who is nearer to where the robot stands than to where it wanted to go lies
before, the others beyond, and every edge from before to beyond within a radius is penalised. A second failure of the same
way costs twice as much, and so on: a random stumble costs a little, a shut door soon costs any detour.

Legend: N landmarks; node N is a start, N + 1 a goal (`attach`).
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.sparse.csgraph import dijkstra

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.graph import Graph


@dataclass(frozen=True)
class PenaltyConfig:
    """How dear a failure is."""

    first: float = 6.0
    """model steps that a first failure costs"""
    factor: float = 2.0
    """by which each further failure of the same way is dearer"""
    radius: float = 3.0
    """model steps around both ends within which ways are taken for the same; at least the length of the way that failed"""

    def __post_init__(self) -> None:
        if min(self.first, self.radius) <= 0 or self.factor < 1:
            raise JepaflowError("A penalty and its radius must be positive, its factor at least 1.")


@dataclass(frozen=True, eq=False)
class Failure:
    """A way that did not work."""

    before: Bool[ndarray, " N"]
    """landmarks on this side"""
    beyond: Bool[ndarray, " N1"]
    """landmarks on that side; the last place is the goal's"""
    by: float


def failure(
    graph: Graph, one: int, other: int, earlier: list[Failure], config: PenaltyConfig | None = None
) -> Failure:
    """Describe a way that failed.

    Args:
        graph: with start and goal, as it was without any penalty.
        one: node where the robot stands.
        other: node where it wanted to go.
        earlier: failures of this episode.
        config: see there.
    """
    config = config or PenaltyConfig()
    n = graph.nodes - 2
    away = [_away(graph, node) for node in (one, other)]
    radius = max(config.radius, float(away[0][other]) if np.isfinite(away[0][other]) else 0.0)
    nearer = away[0] < away[1]
    before, beyond = nearer & (away[0] <= radius), ~nearer & (away[1] <= radius)
    before[one], beyond[other] = True, True
    made = Failure(before[:n], np.append(beyond[:n], beyond[n + 1]), config.first)
    times = sum(bool((made.before & f.before).any() and (made.beyond & f.beyond).any()) for f in earlier)
    return replace(made, by=config.first * config.factor**times)


def penalised(graph: Graph, failures: list[Failure]) -> Graph:
    """Return a graph with start and goal in which the ways that failed cost more.

    Args:
        graph: the landmarks with a start and a goal, perhaps other ones than those of the failures: a start lies before a
            failure if it lies nearer to what is before than to what is beyond.
        failures: of this episode.
    """
    n = graph.nodes - 2
    for each in failures:
        before, beyond = np.append(each.before, [False, False]), np.append(each.beyond[:n], [False, each.beyond[n]])
        leaves = graph.source == n
        here, there = (
            graph.cost[leaves & side[graph.indices]].min(initial=np.inf) for side in (before, beyond)
        )
        before[n] = here <= there
        crosses = before[graph.source] & beyond[graph.indices]
        graph = replace(graph, cost=graph.cost + each.by * crosses)
    return graph


def _away(graph: Graph, node: int) -> Float[ndarray, " N"]:
    """Return the cost between a node and every other, whichever direction is cheaper."""
    out = dijkstra(graph.matrix, indices=node)
    back = dijkstra(graph.matrix.T.tocsr(), indices=node)
    return np.asarray(np.minimum(out, back))
