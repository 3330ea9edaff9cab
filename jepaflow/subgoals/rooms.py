"""A ground to test on, without a simulator: landmarks in square rooms joined by doors, with coordinates as features.

Rooms have side 1; each wall between two neighbours has one door somewhere along it. Landmarks spread evenly
(farthest point first) and always include the doors, so that every room can be reached. An edge joins landmarks that see each other.

Legend: N landmarks, E edges, n segments.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.graph import Graph

CANDIDATES = 40
"""random points per landmark to choose from"""


@dataclass(frozen=True)
class RoomsConfig:
    """A world of rooms."""

    landmarks: int = 64
    rows: int = 2
    columns: int = 2
    neighbours: int = 5
    """nearest visible landmarks that each is joined with, both ways"""
    door: float = 0.2
    """width, in sides of a room"""
    step: float = 1.5
    """cost of an edge of typical length, in model steps"""
    seed: int = 0
    """of the doors"""
    draw: int = 0
    """of the landmarks: another one is another landmark set in the same rooms"""

    def __post_init__(self) -> None:
        doors = self.rows * (self.columns - 1) + self.columns * (self.rows - 1)
        if min(self.rows, self.columns, self.neighbours) < 1 or self.landmarks < max(1, doors):
            raise JepaflowError(
                f"{self.rows} x {self.columns} rooms need at least {max(1, doors)} landmarks and 1 neighbour each."
            )
        if not 0 < self.door < 1 or self.step <= 0:
            raise JepaflowError("The door must be narrower than the wall, and a step must cost something.")


@dataclass(frozen=True, eq=False)
class Rooms:
    """The graph, and the room of every landmark (a door belongs to the room that it opens from)."""

    graph: Graph
    room: Int[ndarray, " N"]


@dataclass(frozen=True, eq=False)
class _Walls:
    """Inner walls with their doors: wall (upright: x = at) from `low` to `low + 1`, door centre at `centre`."""

    upright: Bool[ndarray, " walls"]
    at: Float[ndarray, " walls"]
    low: Float[ndarray, " walls"]
    centre: Float[ndarray, " walls"]

    def doors(self) -> Float[ndarray, "walls 2"]:
        """Coordinates of the door centres."""
        return np.where(self.upright[:, None], np.stack([self.at, self.centre], 1), np.stack([self.centre, self.at], 1))

    def open_(self, a: Float[ndarray, "n 2"], b: Float[ndarray, "n 2"], door: float) -> Bool[ndarray, " n"]:
        """Whether straight lines miss every wall, or pass through its door."""
        free = np.ones(len(a), bool)
        for upright, at, low, centre in zip(self.upright, self.at, self.low, self.centre, strict=True):
            across, along = (0, 1) if upright else (1, 0)
            one, other = a[:, across] - at, b[:, across] - at
            crosses = one * other < 0
            share = one / np.where(crosses, one - other, 1.0)
            place = a[:, along] + share * (b[:, along] - a[:, along])
            free &= ~(crosses & (place > low) & (place < low + 1) & (np.abs(place - centre) > door / 2))
        return free


def make_rooms(config: RoomsConfig) -> Rooms:
    """Make a world of rooms from its seed."""
    walls = _walls(config, np.random.default_rng(config.seed))
    rng = np.random.default_rng((config.seed, config.draw))
    size = np.array([config.columns, config.rows], float)
    points = _spread(walls.doors(), rng.random((CANDIDATES * config.landmarks, 2)) * size, config.landmarks, rng)
    between = np.linalg.norm(points[:, None] - points[None], axis=-1)
    one, other = np.nonzero(~np.eye(len(points), dtype=bool))
    seen = np.full(between.shape, np.inf)
    clear = walls.open_(points[one], points[other], config.door)
    seen[one[clear], other[clear]] = between[one[clear], other[clear]]
    nearest = np.argsort(seen, 1)[:, : config.neighbours]
    joined = np.zeros(between.shape, bool)
    np.put_along_axis(joined, nearest, True, 1)
    source, target = np.nonzero((joined | joined.T) & np.isfinite(seen))
    length = between[source, target]
    cost = config.step * length / (np.median(length) if len(length) else 1.0)
    room = (np.minimum(points[:, 1], config.rows - 1e-9) // 1) * config.columns + points[:, 0] // 1
    return Rooms(Graph.from_edges(source, target, cost, points), room.astype(np.int64))


def _walls(config: RoomsConfig, rng: np.random.Generator) -> _Walls:
    upright = [(True, c, r) for c in range(1, config.columns) for r in range(config.rows)]
    lying = [(False, r, c) for r in range(1, config.rows) for c in range(config.columns)]
    walls = np.array(upright + lying, float).reshape(-1, 3)
    centre = walls[:, 2] + rng.uniform(config.door, 1 - config.door, len(walls))
    return _Walls(walls[:, 0] > 0, walls[:, 1], walls[:, 2], centre)


def _spread(
    first: Float[ndarray, "k 2"], candidates: Float[ndarray, "n 2"], count: int, rng: np.random.Generator
) -> Float[ndarray, "N 2"]:
    """Take `first`, then always the candidate farthest from all taken."""
    chosen = list(first) if len(first) else [candidates[rng.integers(len(candidates))]]
    gap = np.linalg.norm(candidates[:, None] - np.array(chosen)[None], axis=-1).min(1)
    while len(chosen) < count:
        chosen.append(candidates[int(gap.argmax())])
        gap = np.minimum(gap, np.linalg.norm(candidates - chosen[-1], axis=-1))
    return np.array(chosen)
