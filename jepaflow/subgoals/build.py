"""From landmarks and reachability to the graph that plans are drawn on.

An edge says: System 1 gets from one landmark to the next within h model steps. The distance head proposes among each
landmark's nearest latents; transitions that the data show are added where the head does not rule them out; imagination
may veto. False short edges kill plans, missing ones cost a detour, so the thresholds are strict. The cost is the model
steps that the edge takes (`Reachability.steps`) minus eta log P(within h): the most probable of equally long ways.

Legend: N landmarks, n pairs, D latent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.graph import FAR, Graph
from jepaflow.subgoals.landmarks import Landmarks, nearest
from jepaflow.subgoals.reachability import Reachability
from jepaflow.training.latents import Latents

SMALLEST_COST = 0.05
"""model steps"""
SOURCES = 256
"""landmarks from which connectivity is counted; all of them in smaller graphs"""

Veto = Callable[[Int[ndarray, " n"], Int[ndarray, " n"]], Bool[ndarray, " n"]]
"""Which of some edges imagination confirms."""


@dataclass(frozen=True)
class BuildConfig:
    """What makes an edge."""

    within: int = 3
    """h, model steps: what System 1 does reliably"""
    tau: float = 0.3
    """least P(within h). What the head says is too modest, since data dawdle: of Two-Room's and the maze's pairs that it gives
    0.3 to 0.4 more than nine in ten are truly within reach"""
    neighbours: int = 24
    """most edges that leave a landmark, the cheapest first"""
    candidates: int = 128
    """nearest latents of each landmark that the head is asked about"""
    least_steps: float = 0.8
    """model steps below which two landmarks are one place, and no sub-goal of each other"""
    eta: float = 1.0
    """model steps that a factor e of probability is worth"""
    data_count: int = 2
    """pairs of frames (`transitions`) that must show a transition for it to be added; 0 adds none. One passage gives several"""
    data_tau: float = 0.1
    """least P(within h) of such a transition"""
    reference: Literal["uniform", "data"] = "data"
    """the reference walk: uniform over neighbours, or as frequent as in the data (plus one)"""
    doubtful: float = 4.0
    """a landmark is left out where its neighbours are farther apart than this times h: it looks like two places, and would
    lead through what lies between them. 0 leaves none out"""
    like: float = 0.0
    """above 0: no reachability, but episodes as chains, joined where latents differ by less than this (`chains`)"""
    unlike: float = 30.0
    """model steps that a difference of 1 costs there"""

    def __post_init__(self) -> None:
        if min(self.within, self.neighbours, self.candidates) < 1 or self.data_count < 0:
            raise JepaflowError(
                "The graph's within, neighbours and candidates must be at least 1, data_count not negative."
            )
        if (
            not (0 < self.tau < 1 and 0 <= self.data_tau < 1)
            or min(self.eta, self.least_steps, self.doubtful, self.like, self.unlike) < 0
        ):
            raise JepaflowError(
                "The graph's tau must lie between 0 and 1; eta, least_steps, doubtful, like and unlike must not be negative."
            )


@dataclass(frozen=True, eq=False)
class Edges:
    """Directed pairs of landmarks, and what is known of them."""

    source: Int[ndarray, " n"]
    target: Int[ndarray, " n"]
    p: Float[ndarray, " n"]
    """P(within h)"""
    cost: Float[ndarray, " n"]
    count: Int[ndarray, " n"]
    """times that the data show it"""

    def take(self, keep: ndarray) -> "Edges":
        """Return some of them."""
        return Edges(self.source[keep], self.target[keep], self.p[keep], self.cost[keep], self.count[keep])


def build_graph(
    landmarks: Landmarks,
    reach: Reachability,
    latents: Latents,
    block: int,
    config: BuildConfig | None = None,
    veto: Veto | None = None,
) -> tuple[Graph, dict[str, float]]:
    """Build the graph.

    Args:
        landmarks: its nodes, in this order; their latents become the features.
        reach: asked for every candidate.
        latents: of the training episodes, for transitions.
        block: K, control steps in a model step.
        config: thresholds.
        veto: imagination's word on edges that passed the head; none.

    Returns:
        the graph, and how it hangs together (`connectivity`).
    """
    config = config or BuildConfig()
    n = len(landmarks)
    shown = transitions(latents, landmarks.z, block, config.within)
    near, more = _near(landmarks.z, min(config.candidates, n - 1)), list(shown) if config.data_count else []
    pairs = np.unique(np.concatenate([near, np.array(more, np.int64).reshape(-1, 2)]), axis=0)
    edges = priced(reach, landmarks.z, landmarks.z, pairs, config)
    count = np.array([shown.get((int(i), int(j)), 0) for i, j in pairs], np.int64)
    edges = Edges(edges.source, edges.target, edges.p, edges.cost, count)
    by_data = (config.data_count > 0) & (count >= config.data_count) & (edges.p > config.data_tau)
    far_enough = edges.cost + config.eta * np.log(edges.p) >= config.least_steps
    edges = edges.take(((edges.p > config.tau) | by_data) & far_enough)
    edges = edges.take(cheapest(edges.source, edges.cost, config.neighbours))
    doubted = np.zeros(n, bool)
    if config.doubtful > 0:
        doubted = spread(reach, landmarks.z, edges) > config.doubtful * config.within
        edges = edges.take(~(doubted[edges.source] | doubted[edges.target]))
    if veto is not None:
        edges = edges.take(veto(edges.source, edges.target))
    counts = edges.count + 1.0 if config.reference == "data" else None
    graph = Graph.from_edges(edges.source, edges.target, edges.cost, landmarks.z.numpy(), counts)
    shown_share = float((edges.count > 0).mean()) if len(edges.count) else 0.0
    return graph, connectivity(graph) | {"edges_in_data": shown_share, "doubted": float(doubted.sum())}


def spread(reach: Reachability, marks: Float[Tensor, "N D"], edges: Edges) -> Float[ndarray, " N"]:
    """Return how far apart a landmark's neighbours are, model steps: the .9 quantile over their ordered pairs; 0 for fewer than two."""
    found = np.zeros(len(marks))
    for node in range(len(marks)):
        near = np.union1d(edges.target[edges.source == node], edges.source[edges.target == node])
        i, j = (side.ravel() for side in np.meshgrid(near, near, indexing="ij"))
        i, j = i[i != j], j[i != j]
        if len(i):
            log_p = reach.log_probabilities(marks, marks, torch.from_numpy(i), torch.from_numpy(j))
            found[node] = np.quantile(reach.steps(log_p), 0.9)
    return found


def priced(
    reach: Reachability,
    a: Float[Tensor, "N D"],
    b: Float[Tensor, "M D"],
    pairs: Int[ndarray, "n 2"],
    config: BuildConfig,
) -> Edges:
    """Ask the head about pairs (row of ``a``, row of ``b``): probability and cost."""
    i, j = (torch.from_numpy(np.ascontiguousarray(side)) for side in pairs.T)
    log_p = reach.log_probabilities(a, b, i, j)
    p, steps = reach.within(log_p, config.within), reach.steps(log_p)
    cost = np.maximum(steps - config.eta * np.log(p), SMALLEST_COST)
    return Edges(pairs[:, 0], pairs[:, 1], p, cost, np.zeros(len(pairs), np.int64))


def transitions(latents: Latents, marks: Float[Tensor, "N D"], block: int, within: int) -> dict[tuple[int, int], int]:
    """Count pairs of frames, 1 … ``within`` model steps apart, that lead from one landmark's cell to another's.

    A row lies in the cell of the landmark nearest to it.
    """
    owner = nearest(latents.z, marks)[0].numpy()
    corpus, size = latents.corpus, len(marks)
    found: dict[int, int] = {}
    for steps in range(1, within + 1):
        rows = np.flatnonzero(corpus.left >= steps * block)
        one, other = owner[rows], owner[rows + steps * block]
        moved = one != other
        keys, counts = np.unique(one[moved].astype(np.int64) * size + other[moved], return_counts=True)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            found[key] = found.get(key, 0) + count
    return {divmod(key, size): count for key, count in found.items()}


def cheapest(source: Int[ndarray, " n"], cost: Float[ndarray, " n"], most: int) -> Int[ndarray, " m"]:
    """Return which edges are among the ``most`` cheapest that leave their source."""
    order = np.lexsort((cost, source))
    ordered = source[order]
    begin = np.searchsorted(ordered, ordered)
    return np.sort(order[np.arange(len(order)) - begin < most])


def connectivity(graph: Graph) -> dict[str, float]:
    """Return how a graph hangs together: edges, degrees, dead ends, parts, and the share of ordered pairs with a way."""
    n = graph.nodes
    parts, label = connected_components(graph.matrix, connection="strong")
    goals = np.arange(n) if n <= SOURCES else np.random.default_rng(0).choice(n, SOURCES, replace=False)
    joined = (graph.hops(goals) < FAR).sum() - len(goals)
    return {
        "nodes": float(n),
        "edges": float(graph.edges),
        "degree": graph.edges / max(1, n),
        "dead_ends": float((graph.degree == 0).sum()),
        "components": float(parts),
        "largest_component": float(np.bincount(label).max() / n) if n else 0.0,
        "connected_pairs": float(joined / max(1, len(goals) * (n - 1))),
    }


def _near(z: Float[Tensor, "N D"], count: int) -> Int[ndarray, "n 2"]:
    """Return each landmark with its nearest others."""
    if count < 1:
        return np.empty((0, 2), np.int64)
    size, found = z.square().sum(1), []
    for begin in range(0, len(z), 1024):
        gap = size - 2 * z[begin : begin + 1024] @ z.mT
        gap[torch.arange(len(gap)), begin + torch.arange(len(gap))] = torch.inf
        found.append(gap.topk(count, largest=False).indices)
    return np.stack([np.repeat(np.arange(len(z)), count), torch.cat(found).flatten().numpy()], 1)
