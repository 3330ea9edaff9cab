"""The rooms of `rooms`, with many more nodes than a table of pairs holds: nodes are scattered, walls are asked about."""

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from jepaflow.subgoals.lazy import LazyGraph
from jepaflow.subgoals.rooms import RoomsConfig, _walls


def lazy_rooms(config: RoomsConfig, candidates: int = 24) -> tuple[LazyGraph, Int[ndarray, " N"]]:
    """Scatter nodes evenly at random (the doors among them); an edge joins near nodes that see each other.

    Args:
        config: rooms; `step` is the cost of a unit of length here, times the side of a room.
        candidates: nearest nodes asked about; those that are seen are neighbours.

    Returns:
        the graph, and the room of every node.
    """
    walls = _walls(config, np.random.default_rng(config.seed))
    rng = np.random.default_rng((config.seed, config.draw))
    doors, size = walls.doors(), np.array([config.columns, config.rows], float)
    points = np.concatenate([doors, rng.random((config.landmarks - len(doors), 2)) * size]).astype(np.float32)

    def ask(pairs: Int[ndarray, "n 2"]) -> tuple[ndarray, ndarray]:
        a, b = (points[side].astype(np.float64) for side in pairs.T)
        gap = np.linalg.norm(a - b, axis=1)
        return walls.open_(a, b, config.door) & (gap > 0), config.step * np.maximum(gap, 1e-9)

    room = (np.minimum(points[:, 1], config.rows - 1e-6) // 1) * config.columns + np.minimum(
        points[:, 0], config.columns - 1e-6
    ) // 1
    return LazyGraph(points, ask, candidates, candidates), room.astype(np.int64)
