"""What the lazy GFlowNet is held against: searches that also ask about edges only where they look.

A* (Hart, Nilsson, Raphael 1968) finds a cheapest walk where its heuristic never says too much, and asks about every node that
might lie on a cheaper one; greedy descent asks least, and sits down behind the first wall.
"""

import heapq
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from jepaflow.subgoals.lazy import LazyGraph

Heuristic = Callable[[Int[ndarray, " n"]], Float[ndarray, " n"]]
"""Cost to go from nodes to the goal."""


def a_star(graph: LazyGraph, start: int, goal: int, heuristic: Heuristic, weight: float = 1.0) -> list[int] | None:
    """Return the walk found, None where there is no way.

    Args:
        graph: asked about every node that is expanded.
        start, goal: nodes.
        heuristic: cost to go.
        weight: times the heuristic; above 1 it hurries, and may miss the cheapest way.
    """
    cost, before, done, known = {start: 0.0}, {start: -1}, set[int](), dict[int, float]()
    queue = [(0.0, start)]
    while queue:
        _, node = heapq.heappop(queue)
        if node == goal:
            walk = [goal]
            while before[walk[-1]] >= 0:
                walk.append(before[walk[-1]])
            return walk[::-1]
        if node in done:
            continue
        done.add(node)
        target, price = (row[0] for row in graph.rows(np.array([node])))
        target, price = target[target >= 0], price[target >= 0]
        new = np.array([other for other in target.tolist() if other not in known], np.int64)
        if len(new):
            known.update(zip(new.tolist(), heuristic(new).tolist(), strict=True))
        for other, step in zip(target.tolist(), price.tolist(), strict=True):
            total = cost[node] + step
            if total < cost.get(other, np.inf) - 1e-12:
                cost[other], before[other] = total, node
                done.discard(other)
                heapq.heappush(queue, (total + weight * known[other], other))
    return None


def greedy(graph: LazyGraph, start: int, goal: int, heuristic: Heuristic, bound: int) -> list[int] | None:
    """Go to the neighbour that looks nearest, never back; None where that ends or takes more than `bound` edges."""
    walk, been = [start], {start}
    for _ in range(bound):
        if walk[-1] == goal:
            return walk
        target = graph.rows(np.array([walk[-1]]))[0][0]
        target = target[[node >= 0 and node not in been for node in target.tolist()]]
        if not len(target):
            return None
        walk.append(int(target[heuristic(target).argmin()]))
        been.add(walk[-1])
    return walk if walk[-1] == goal else None
