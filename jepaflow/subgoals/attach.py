"""Put where the robot is, and where it should be, into the graph: two more nodes, joined by reachability.

The start's edges lead to landmarks, landmarks' edges lead to the goal, and one edge leads straight there where System 1
can do it alone. Where nothing is surely within reach, the likeliest few landmarks are taken: a plan that begins with a
doubt is better than none, and its cost says so.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from jepaflow.subgoals.build import BuildConfig, Edges, cheapest, priced
from jepaflow.subgoals.chains import joined, towards_like
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.reachability import Reachability

FEWEST = 3
"""edges that join a start or a goal at least"""


@dataclass(frozen=True, eq=False)
class Attached:
    """A graph with a start and a goal; nodes below ``start`` are the landmarks."""

    graph: Graph
    start: int
    goal: int


def attach(
    graph: Graph,
    reach: Reachability,
    marks: Float[Tensor, "N D"],
    start: Float[Tensor, " D"],
    goal: Float[Tensor, " D"],
    config: BuildConfig | None = None,
) -> Attached:
    """Join a start and a goal to a graph of landmarks.

    Args:
        graph: of N landmarks.
        reach: as for the graph.
        marks: the landmarks' latents.
        start, goal: latents.
        config: as for the graph; a place may be nearer to its landmark than they are to each other.
    """
    config = config or BuildConfig()
    n = graph.nodes
    if config.like > 0:
        return Attached(joined(graph, marks, start, goal, config), n, n + 1)
    out = _best(priced(reach, start[None], marks, np.stack([np.zeros(n, np.int64), np.arange(n)], 1), config), config)
    into = _best(priced(reach, marks, goal[None], np.stack([np.arange(n), np.zeros(n, np.int64)], 1), config), config)
    straight = priced(reach, start[None], goal[None], np.zeros((1, 2), np.int64), config)
    straight = straight.take(straight.p > config.tau)
    source = np.concatenate([graph.source, np.full(len(out.p), n), into.source, np.full(len(straight.p), n)])
    target = np.concatenate([graph.indices, out.target, np.full(len(into.p) + len(straight.p), n + 1)])
    cost = np.concatenate([graph.cost, out.cost, into.cost, straight.cost])
    weight = np.concatenate([np.exp(graph.log_ref), out.p, _share(graph, into.source), straight.p])
    features = np.concatenate([graph.features, start[None].numpy(), goal[None].numpy()])
    whole = Graph.from_edges(source, target, cost, features, weight)
    return Attached(whole, n, n + 1)


def attach_start(
    graph: Graph,
    reach: Reachability,
    marks: Float[Tensor, "N D"],
    start: Float[Tensor, " D"],
    config: BuildConfig | None = None,
    dearer: Float[ndarray, " N"] | None = None,
) -> Attached:
    """Join a start alone, where a walk may end at more landmarks than one (`language.product`).

    The goal's node is there, so that failures are told in the same words, and no edge leads to it. Arguments as in `attach`; and
    `dearer`: model steps by which joining each landmark costs more, for what a latent does not tell.
    """
    config, n = config or BuildConfig(), graph.nodes
    if config.like > 0:
        out, pay = towards_like(marks, start, config, dearer)
        weight = np.exp(-pay + pay.min())
    else:
        pairs = np.stack([np.zeros(n, np.int64), np.arange(n)], 1)
        every = priced(reach, start[None], marks, pairs, config)
        every = every if dearer is None else replace(every, cost=every.cost + dearer)
        best = _best(every, config)
        out, pay, weight = best.target, best.cost, best.p
    source, target = np.append(graph.source, np.full(len(out), n)), np.append(graph.indices, out)
    cost, weight = np.append(graph.cost, pay), np.append(np.exp(graph.log_ref), weight)
    features = np.concatenate([graph.features, start[None].numpy(), start[None].numpy()])
    return Attached(Graph.from_edges(source, target, cost, features, weight), n, n + 1)


def _best(edges: Edges, config: BuildConfig) -> Edges:
    """Keep what is within reach, the cheapest first; at least the likeliest few."""
    sure = edges.take(edges.p > config.tau)
    if len(sure.p) >= FEWEST:
        return sure.take(cheapest(np.zeros(len(sure.p), np.int64), sure.cost, config.neighbours))
    return edges.take(np.sort(np.argsort(-edges.p, kind="stable")[:FEWEST]))


def _share(graph: Graph, source: ndarray) -> Float[ndarray, " n"]:
    """Return the reference weight of a goal's edge: as likely as a landmark's average one."""
    return np.asarray(1.0 / np.maximum(graph.degree[source], 1))
