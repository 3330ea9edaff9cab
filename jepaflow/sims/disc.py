"""A disc among axis-aligned solid rectangles in a walled square: where its centre may be, and how it moves.

The centre lives outside each rectangle grown by the radius, rounded corners included. A move is cut into steps that are
short against the radius; after each one the centre is put back on the nearest free point. That one rule gives all the
behaviour a person expects: no tunnelling, sliding along a wall, rolling round a door's corners. Plain floats, because
numpy costs more than the arithmetic on two numbers.

Units: pixels of the 224 px world, x to the right, y down; one control step is one action.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

Point = tuple[float, float]
Rect = tuple[float, float, float, float]
"""left, top, right, bottom of something solid."""

WORLD = 224.0
LONGEST_SUBSTEP = 1.0
"""A substep in px: far below every radius, so that the nearest free point is always on the side it came from."""


class Arena(ABC):
    """What a disc's world says of itself (px, px per control step); its sizes are fields of a frozen dataclass."""

    border: float
    """Thickness of the outer wall."""
    radius: float
    """The disc's."""
    speed: float
    """How far an action component of 1 moves the disc."""
    success_distance: float
    """The disc has arrived when its centre is nearer to the target than this."""

    @property
    def free_low(self) -> float:
        """Smallest coordinate of a free centre (both axes)."""
        return self.border + self.radius

    @property
    def free_high(self) -> float:
        """Largest coordinate of a free centre (both axes)."""
        return WORLD - self.border - self.radius

    @abstractmethod
    def walls(self) -> tuple[Rect, ...]:
        """Return what is always solid inside the outer wall."""

    def near(self, walls: tuple[Rect, ...], start: Point, delta: Point) -> tuple[Rect, ...]:
        """Return the walls that a disc may touch on a move from `start` by `delta`, whatever it slides along."""
        (x, y), reach = start, self.radius + math.hypot(*delta)
        return tuple(w for w in walls if w[0] - reach <= x <= w[2] + reach and w[1] - reach <= y <= w[3] + reach)


def penetration(arena: Arena, point: Point, more: tuple[Rect, ...] = ()) -> float:
    """Return how deep (px, 0 when free) the disc centred at `point` lies in something solid.

    Args:
        arena: the world.
        point: the centre.
        more: what is solid now beside the arena's walls.
    """
    x, y = point
    low, high = arena.free_low, arena.free_high
    deepest = max(low - x, x - high, low - y, y - high, 0.0)
    for left, top, right, bottom in (*arena.walls(), *more):
        outside = math.hypot(x - min(max(x, left), right), y - min(max(y, top), bottom))
        inside = max(0.0, min(x - left, right - x, y - top, bottom - y))
        deepest = max(deepest, arena.radius - outside + inside)
    return deepest


def move(arena: Arena, walls: tuple[Rect, ...], start: Point, delta: Point) -> Point:
    """Return where the disc ends that tries to move from `start` by `delta` (px), sliding along what is solid.

    Args:
        arena: the world.
        walls: what is solid now: `arena.walls()`, perhaps with more.
        start: a free centre.
        delta: the wished displacement; any length.
    """
    low, high, radius = arena.free_low, arena.free_high, arena.radius
    x, y = start
    dx, dy = delta
    near = arena.near(walls, start, delta)
    if not near:  # only the outer wall matters
        return min(max(x + dx, low), high), min(max(y + dy, low), high)
    count = max(1, math.ceil(math.hypot(dx, dy) / LONGEST_SUBSTEP))
    step_x, step_y = dx / count, dy / count
    for _ in range(count):
        x, y = x + step_x, y + step_y
        for rect in near:
            x, y = _pushed_out((x, y), rect, radius)
        x, y = min(max(x, low), high), min(max(y, low), high)
    return x, y


def _pushed_out(point: Point, rect: Rect, radius: float) -> Point:
    """Return the nearest point to `point` at which the disc of `radius` does not overlap `rect`."""
    x, y = point
    left, top, right, bottom = rect
    near_x, near_y = min(max(x, left), right), min(max(y, top), bottom)
    dx, dy = x - near_x, y - near_y
    distance = math.hypot(dx, dy)
    if distance >= radius:
        return point
    if distance > 0.0:
        return near_x + dx / distance * radius, near_y + dy / distance * radius
    # The centre itself is inside: leave through the nearest face (only a state set by hand can get here).
    _, exit_point = min(
        (x - left, (left - radius, y)),
        (right - x, (right + radius, y)),
        (y - top, (x, top - radius)),
        (bottom - y, (x, bottom + radius)),
    )
    return exit_point


def random_free_point(arena: Arena, rng: np.random.Generator) -> Point:
    """Draw a free centre, uniform over the whole world, doorways included."""
    while True:
        x, y = rng.uniform(arena.free_low, arena.free_high, size=2)
        if penetration(arena, (float(x), float(y))) == 0.0:
            return float(x), float(y)
