"""Graphs whose every edge was walked: episodes as chains of landmarks, joined where two of them show the same.

With things on the desk, "reachable" asks for more than a distance head can tell: a hand beside the bin is a block away from
a hand beside the bin with the cube in it, if one does not see the grasp that lies between. Here the data vouch for every
step. A landmark leads to the next one of its own episode, and, where another episode shows nearly the same latent, to that
one's next. Nearly is measured as the root mean square over the latent's dimensions, whose spread SIGReg has made one;
unlikeness costs model steps, so a plan leaves its demonstration only for one that fits as well.

Legend: N landmarks, D latent.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.build import BuildConfig, connectivity
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.landmarks import CHUNK, Landmarks

TOUCH = 0.05
"""model steps that joining two equal latents costs: an edge must cost something"""


def following(landmarks: Landmarks) -> Int[ndarray, " N"]:
    """Return each landmark's next in its episode; -1 where it is the last."""
    order = np.lexsort((landmarks.step, landmarks.episode, landmarks.store))
    same = (np.diff(landmarks.store[order]) == 0) & (np.diff(landmarks.episode[order]) == 0)
    after = np.full(len(landmarks), -1)
    after[order[:-1][same]] = order[1:][same]
    return after


def chain_graph(landmarks: Landmarks, block: int, config: BuildConfig) -> tuple[Graph, dict[str, float]]:
    """Build the graph.

    Args:
        landmarks: every so many control steps of some episodes (`LandmarkConfig.every`).
        block: K, control steps in a model step.
        config: `like` and `unlike`.

    Returns:
        the graph, and how it hangs together (`connectivity`).

    Raises:
        JepaflowError: no landmark follows another.
    """
    after, n = following(landmarks), len(landmarks)
    has = np.flatnonzero(after >= 0)
    if len(has) == 0:
        raise JepaflowError("No landmark follows another. Choose them along episodes: --landmarks.every 10.")
    steps = np.zeros(n)
    steps[has] = (landmarks.step[after[has]] - landmarks.step[has]) / block
    i, j, away = likest(landmarks.z, landmarks.z, config.neighbours)
    other = (away <= config.like) & (after[j] >= 0) & (after[j] != i)
    other &= (landmarks.episode[i] != landmarks.episode[j]) | (landmarks.store[i] != landmarks.store[j])
    i, j, away = i[other], j[other], away[other]
    source, target = np.concatenate([has, i]), np.concatenate([after[has], after[j]])
    cost = np.concatenate([steps[has], steps[j] + config.unlike * away])
    source, target, cost = _once(source, target, np.maximum(cost, TOUCH))
    weight = np.exp(-cost / max(1e-9, float(np.median(cost))))
    graph = Graph.from_edges(source, target, cost, landmarks.z.numpy(), weight)
    return graph, connectivity(graph) | {"edges_in_data": len(has) / max(1, graph.edges)}


@torch.no_grad()
def likest(
    a: Float[Tensor, "N D"], b: Float[Tensor, "M D"], count: int
) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"], Float[ndarray, " n"]]:
    """Return pairs (row of ``a``, row of ``b``, unlikeness) of each row's ``count`` nearest."""
    found = [torch.cdist(part, b).topk(min(count, len(b)), largest=False) for part in torch.split(a, CHUNK)]
    values, which = torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])
    rows = np.repeat(np.arange(len(a)), which.shape[1])
    return rows, which.flatten().numpy(), values.flatten().numpy().astype(np.float64) / a.shape[1] ** 0.5


def towards_like(
    marks: Float[Tensor, "N D"],
    start: Float[Tensor, " D"],
    config: BuildConfig,
    dearer: Float[ndarray, " N"] | None = None,
) -> tuple[Int[ndarray, " n"], Float[ndarray, " n"]]:
    """Return the landmarks that look most like a start, and what joining each of them costs, model steps.

    `dearer`: by which joining each costs more; the cheapest are returned.
    """
    if dearer is None:
        _, out, away = likest(start[None], marks, config.neighbours)
        return out, TOUCH + config.unlike * away
    away = (torch.cdist(start[None], marks)[0] / marks.shape[1] ** 0.5).numpy().astype(np.float64)
    pay = TOUCH + config.unlike * away + dearer
    out = np.argsort(pay, kind="stable")[: config.neighbours]
    return out, pay[out]


def joined(
    graph: Graph,
    marks: Float[Tensor, "N D"],
    start: Float[Tensor, " D"],
    goal: Float[Tensor, " D"],
    config: BuildConfig,
) -> Graph:
    """Add start (node N) and goal (node N + 1): each joined to the landmarks that look most like it."""
    n = graph.nodes
    out, pay_out = towards_like(marks, start, config)
    into, pay_in = towards_like(marks, goal, config)
    source = np.concatenate([graph.source, np.full(len(out), n), into])
    target = np.concatenate([graph.indices, out, np.full(len(into), n + 1)])
    cost = np.concatenate([graph.cost, pay_out, pay_in])
    weight = np.concatenate([np.exp(graph.log_ref), np.exp(-pay_out + pay_out.min()), np.exp(-pay_in + pay_in.min())])
    features = np.concatenate([graph.features, start[None].numpy(), goal[None].numpy()])
    return Graph.from_edges(source, target, cost, features, weight)


def _once(source: ndarray, target: ndarray, cost: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """Keep the cheapest of edges that join the same two nodes, and none to itself."""
    order = np.lexsort((cost, target, source))
    source, target, cost = source[order], target[order], cost[order]
    first = np.append(True, (np.diff(source) != 0) | (np.diff(target) != 0)) & (source != target)
    return source[first], target[first], cost[first]
