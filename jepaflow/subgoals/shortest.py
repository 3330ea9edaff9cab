"""The baselines that always take the cheapest way: Dijkstra and Yen's k shortest walks, both scipy's.

Yen (1971) lists loopless paths by cost; near duplicates come first, which is why it is no source of *different* plans.

Legend: G goals, N nodes, E edges.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse.csgraph import dijkstra, yen

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.walks import Walks, walks_of


def distances(
    graph: Graph, goals: Int[ndarray, " G"], length: Float[ndarray, " E"] | None = None
) -> Float[ndarray, "G N"]:
    """Lowest cost from every node to each goal, in model steps (or in another positive `length` of the edges); infinity where
    there is no way.
    """
    graph.require_nodes("goal", goals)
    if not len(goals):
        return np.zeros((0, graph.nodes))
    matrix = graph.matrix if length is None else replace(graph, cost=length).matrix
    return np.asarray(dijkstra(matrix.T.tocsr(), indices=goals))


def shortest_walk(graph: Graph, start: int, goal: int) -> Walks:
    """Return the cheapest walk; no rows where there is no way."""
    graph.require_nodes("start", np.array([start]))
    graph.require_nodes("goal", np.array([goal]))
    _, before = dijkstra(graph.matrix, indices=start, return_predecessors=True)
    found = _back(before, start, goal)
    return walks_of([] if found is None else [found])


def k_shortest(graph: Graph, start: int, goal: int, k: int) -> Walks:
    """Return up to k loopless walks, cheapest first; no rows where there is no way.

    Raises:
        JepaflowError: k is below 1.
    """
    graph.require_nodes("start", np.array([start]))
    graph.require_nodes("goal", np.array([goal]))
    if k < 1:
        raise JepaflowError(f"{k} shortest walks were asked for; ask for at least 1.")
    if start == goal:
        return walks_of([[start]])
    _, before = yen(graph.matrix, start, goal, k, return_predecessors=True)
    found = [_back(row, start, goal) for row in before]
    return walks_of([walk for walk in found if walk is not None])


def _back(before: Int[ndarray, " N"], start: int, goal: int) -> list[int] | None:
    """Follow predecessors from the goal."""
    walk = [goal]
    while walk[-1] != start:
        if before[walk[-1]] < 0:
            return None
        walk.append(int(before[walk[-1]]))
    return walk[::-1]
