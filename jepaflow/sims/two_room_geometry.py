"""Two-Room's geometry: one wall with doors, and which way leads through it. How a disc moves is in `disc`.

Units: pixels of the 224 px world, x to the right, y down; one control step is one action.
Constants: stable-worldmodel's TwoRoom-v1.
"""

from __future__ import annotations

from dataclasses import dataclass

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.disc import WORLD, Arena, Point, Rect


@dataclass(frozen=True)
class TwoRoomConfig(Arena):
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

    def near(self, walls: tuple[Rect, ...], start: Point, delta: Point) -> tuple[Rect, ...]:
        """Return the walls that a move may meet: all of them near the middle wall, else none."""
        far = abs(start[0] - self.wall_x) > self.wall_thickness / 2 + self.radius + abs(delta[0])
        return () if far else walls


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
