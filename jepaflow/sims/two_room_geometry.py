"""Two-Room's geometry: where the disc's centre may be, how it moves, which way leads to a point.

The agent is a disc among axis-aligned solid rectangles, so its centre lives outside each rectangle grown by the radius,
rounded corners included. A move is cut into steps that are short against the radius; after each one the centre is put
back on the nearest free point. That one rule gives all the behaviour a person expects: no tunnelling, sliding along a
wall, rolling round the door's corners. Plain floats, because numpy costs more than the arithmetic on two numbers.

Units: pixels of the 224 px world, x to the right, y down; one control step is one action.
Constants: stable-worldmodel's TwoRoom-v1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jepaflow.common.errors import JepaflowError

Point = tuple[float, float]
Rect = tuple[float, float, float, float]
"""left, top, right, bottom of something solid."""

WORLD = 224.0
LONGEST_SUBSTEP = 1.0
"""A substep in px: far below every radius, so that the nearest free point is always on the side it came from."""


@dataclass(frozen=True)
class TwoRoomConfig:
    """The world's sizes (px, px per control step) and its success rule. Defaults are stable-worldmodel's."""

    border: float = 14.0
    """Thickness of the outer wall."""
    wall_x: float = 112.0
    """Centre of the wall between the rooms."""
    wall_thickness: float = 10.0
    doors: tuple[float, ...] = (49.0,)
    """y of the centre of each door."""
    door_half_width: float = 14.0
    radius: float = 7.0
    speed: float = 5.0
    """px that an action component of 1 moves the agent."""
    success_distance: float = 16.0
    """The agent has arrived when its centre is nearer to the target than this."""

    def __post_init__(self) -> None:
        """Refuse a world that cannot be walked, naming the value."""
        if not self.doors:
            raise JepaflowError("Two-Room needs at least one door: the list `doors` is empty. Give e.g. doors=(49,).")
        if self.radius <= 0 or self.speed <= 0 or self.success_distance <= 0:
            raise JepaflowError("Two-Room's radius, speed and success distance must be above 0. Give positive sizes.")
        if self.door_half_width <= self.radius:
            raise JepaflowError(
                f"a door of half-width {self.door_half_width:g} px is too narrow for an agent of radius "
                f"{self.radius:g} px. Widen the door or shrink the agent."
            )
        low, high = self.border, WORLD - self.border
        for door in self.doors:
            if door - self.door_half_width < low or door + self.door_half_width > high:
                raise JepaflowError(
                    f"the door at y={door:g} cuts into the outer wall. Keep it inside {low:g}..{high:g}."
                )
        room = min(self.wall_x, WORLD - self.wall_x) - self.wall_thickness / 2 - self.border
        if room <= 2 * self.radius:
            raise JepaflowError(f"a room {room:g} px wide is too small for an agent of radius {self.radius:g} px.")

    @property
    def free_low(self) -> float:
        """Smallest coordinate of a free centre (both axes)."""
        return self.border + self.radius

    @property
    def free_high(self) -> float:
        """Largest coordinate of a free centre (both axes)."""
        return WORLD - self.border - self.radius

    def walls(self) -> tuple[Rect, ...]:
        """Return the solid pieces of the middle wall, between the doors, from top to bottom."""
        left, right = self.wall_x - self.wall_thickness / 2, self.wall_x + self.wall_thickness / 2
        pieces, top = [], 0.0
        for door in sorted(self.doors):
            if door - self.door_half_width > top:
                pieces.append((left, top, right, door - self.door_half_width))
            top = max(top, door + self.door_half_width)
        pieces.append((left, top, right, WORLD))
        return tuple(pieces)


def penetration(config: TwoRoomConfig, point: Point) -> float:
    """Return how deep (px, 0 when free) the disc centred at `point` lies in something solid."""
    x, y = point
    deepest = max(config.free_low - x, x - config.free_high, config.free_low - y, y - config.free_high, 0.0)
    for left, top, right, bottom in config.walls():
        outside = math.hypot(x - min(max(x, left), right), y - min(max(y, top), bottom))
        inside = max(0.0, min(x - left, right - x, y - top, bottom - y))
        deepest = max(deepest, config.radius - outside + inside)
    return deepest


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


def move(config: TwoRoomConfig, walls: tuple[Rect, ...], start: Point, delta: Point) -> Point:
    """Return where the disc ends that tries to move from `start` by `delta` (px), sliding along what is solid.

    Args:
        config: the world.
        walls: `config.walls()`, computed once by the caller.
        start: a free centre.
        delta: the wished displacement; any length.
    """
    low, high, radius = config.free_low, config.free_high, config.radius
    x, y = start
    dx, dy = delta
    reach = config.wall_thickness / 2 + radius
    if abs(x - config.wall_x) > reach + abs(dx) or not walls:  # cannot meet the middle wall: only the box matters
        return min(max(x + dx, low), high), min(max(y + dy, low), high)
    count = max(1, math.ceil(math.hypot(dx, dy) / LONGEST_SUBSTEP))
    step_x, step_y = dx / count, dy / count
    for _ in range(count):
        x, y = x + step_x, y + step_y
        for rect in walls:
            x, y = _pushed_out((x, y), rect, radius)
        x, y = min(max(x, low), high), min(max(y, low), high)
    return x, y


def random_free_point(config: TwoRoomConfig, rng: np.random.Generator) -> Point:
    """Draw a free centre, uniform over both rooms and the doorway."""
    while True:
        x, y = rng.uniform(config.free_low, config.free_high, size=2)
        if penetration(config, (float(x), float(y))) == 0.0:
            return float(x), float(y)


def waypoint(config: TwoRoomConfig, here: Point, target: Point) -> Point:
    """Return the point to head for now: the target if it is in this room, else a point on the way through a door.

    This is the expert's whole knowledge of the map. In line with the door it aims beyond it, so it never stops inside.
    """
    reach = config.wall_thickness / 2 + config.radius
    room_here, room_there = (_room(config, reach, point[0]) for point in (here, target))
    if room_here == room_there:
        return target
    door = min(config.doors, key=lambda y: abs(here[1] - y) + abs(target[1] - y))
    in_line = abs(here[1] - door) <= 0.8 * (config.door_half_width - config.radius)
    if room_here != 0 and not in_line:
        return config.wall_x + room_here * (reach + 2.0), door
    if room_there == 0:
        return target
    return config.wall_x + room_there * (reach + 2.0), door


def _room(config: TwoRoomConfig, reach: float, x: float) -> int:
    """Return -1 for the left room, 1 for the right one, 0 for the doorway's band."""
    return 0 if abs(x - config.wall_x) < reach else (1 if x > config.wall_x else -1)
