"""The maze's geometry: rooms on a square grid, joined by doors in the middle of the walls between them, which can be shut.

No door of the standard layout is a bridge: shut any one of them and every room can still be reached. So every goal in
another room has two routes at least, most far ones many, and a planner whose route was blocked has another to find.

Units as in `disc`. Rooms are numbered row by row; a door is a pair (lower room, higher room) of neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.disc import WORLD, Arena, Point, Rect

Door = tuple[int, int]

# fmt: off
LAYOUT: tuple[Door, ...] = (
    (0, 1), (0, 4), (1, 2), (2, 3), (3, 7), (4, 5), (4, 8), (5, 6), (5, 9),
    (6, 10), (7, 11), (8, 9), (8, 12), (9, 10), (11, 15), (12, 13), (13, 14), (14, 15),
)
# fmt: on
"""Found by a search for 4 x 4 rooms that are far apart (up to eight doors) though no door is a bridge."""


@dataclass(frozen=True)
class MazeConfig(Arena):
    """The maze's sizes (px, px per control step), its doors and its success rule."""

    rooms: int = 4
    """Rooms along each side."""
    doors: tuple[Door, ...] = LAYOUT
    border: float = 8.0
    """Thickness of the outer wall."""
    wall_thickness: float = 8.0
    door_half_width: float = 12.0
    radius: float = 7.0
    speed: float = 4.0
    """px that an action component of 1 moves the agent."""
    success_distance: float = 12.0
    """The agent has arrived when its centre is nearer to the target than this: less than any wall keeps two discs apart."""

    def __post_init__(self) -> None:
        """Refuse a maze that cannot be walked, naming the value."""
        if min(self.radius, self.speed, self.success_distance, self.wall_thickness) <= 0:
            raise JepaflowError(
                "the maze's radius, speed, walls and success distance must be above 0. Give positive sizes."
            )
        if self.rooms < 1:
            raise JepaflowError(f"a maze of {self.rooms} rooms a side is none. Ask for at least 1.")
        if self.side <= 2 * max(self.radius, self.door_half_width):
            raise JepaflowError(
                f"{self.rooms} rooms a side leave {self.side:g} px each: too little for the agent or a door. Ask for fewer."
            )
        if self.door_half_width <= self.radius:
            raise JepaflowError(
                f"a door of half-width {self.door_half_width:g} px is too narrow for an agent of radius "
                f"{self.radius:g} px. Widen the door or shrink the agent."
            )
        for one, other in self.doors:
            beside = other == one + 1 and other % self.rooms != 0
            if not (beside or other == one + self.rooms) or one < 0 or other >= self.rooms**2:
                raise JepaflowError(
                    f"the door {one}-{other} joins no two neighbouring rooms of {self.rooms} x {self.rooms}. "
                    "Name the lower number first."
                )
        if len(set(self.doors)) != len(self.doors):
            raise JepaflowError("a door of the maze is named twice. Name each once.")
        if not self.joined():
            raise JepaflowError("some rooms of the maze cannot be reached. Add doors.")

    @property
    def side(self) -> float:
        """Side of a room, px."""
        return (WORLD - 2 * self.border - (self.rooms - 1) * self.wall_thickness) / self.rooms

    def walls(self) -> tuple[Rect, ...]:
        """Return the solid pieces between the rooms, doors left open."""
        return self._walls

    @cached_property
    def _walls(self) -> tuple[Rect, ...]:
        pitch, thick, pieces = self.side + self.wall_thickness, self.wall_thickness, []
        doors = set(self.doors)
        for line in range(1, self.rooms):
            near = self.border + line * pitch - thick
            for upright in (True, False):
                begin = 0.0
                for place in range(self.rooms):
                    one = place * self.rooms + line - 1 if upright else (line - 1) * self.rooms + place
                    if (one, one + (1 if upright else self.rooms)) not in doors:
                        continue
                    centre = self.border + place * pitch + self.side / 2
                    pieces.append((near, begin, near + thick, centre - self.door_half_width, upright))
                    begin = centre + self.door_half_width
                pieces.append((near, begin, near + thick, WORLD, upright))
        return tuple((a, b, c, d) if upright else (b, a, d, c) for a, b, c, d, upright in pieces)

    def leaf(self, door: int) -> Rect:
        """Return what is solid when a door (its number in `doors`) is shut."""
        one, other = self.doors[door]
        (x, y), across = self.centre(one), (self.side + self.wall_thickness) / 2
        half, thick = self.door_half_width, self.wall_thickness / 2
        if other == one + 1:
            return (x + across - thick, y - half, x + across + thick, y + half)
        return (x - half, y + across - thick, x + half, y + across + thick)

    def centre(self, room: int) -> Point:
        """Return the middle of a room."""
        row, column = divmod(room, self.rooms)
        pitch = self.side + self.wall_thickness
        return self.border + self.side / 2 + column * pitch, self.border + self.side / 2 + row * pitch

    def room(self, point: Point) -> int:
        """Return the room that a centre lies in; the middle of a wall divides a doorway."""
        pitch = self.side + self.wall_thickness
        column, row = (
            min(max(int((v - self.border + self.wall_thickness / 2) // pitch), 0), self.rooms - 1) for v in point
        )
        return row * self.rooms + column

    def route(self, one: int, other: int, shut: frozenset[int] = frozenset()) -> list[int] | None:
        """Return the doors (by number) on a way through the fewest doors from a room to another; None where there is none."""
        ways: dict[int, list[int]] = {one: []}
        edge = [one]
        while edge and other not in ways:
            edge = [beyond for room in edge for beyond in self._enter(room, ways, shut)]
        return ways.get(other)

    def _enter(self, room: int, ways: dict[int, list[int]], shut: frozenset[int]) -> list[int]:
        """Note the ways to the neighbours of a room that are new, and return these."""
        found = []
        for number, (a, b) in enumerate(self.doors):
            if number in shut or room not in (a, b) or (beyond := a + b - room) in ways:
                continue
            ways[beyond] = [*ways[room], number]
            found.append(beyond)
        return found

    def doors_between(self, one: int, other: int, shut: frozenset[int] = frozenset()) -> int:
        """Return the fewest doors on the way from a room to another, -1 where there is no way."""
        way = self.route(one, other, shut)
        return -1 if way is None else len(way)

    def doors_on(self, places: Float[np.ndarray, "n 2"]) -> list[int]:
        """Return the doors that a row of places leads through, in order; between rooms that are not neighbours the fewest."""
        rooms = [self.room((float(x), float(y))) for x, y in places]
        found: list[int] = []
        for one, other in zip(rooms, rooms[1:], strict=False):
            found += self.route(one, other) or []
        return found

    def joined(self, shut: frozenset[int] = frozenset()) -> bool:
        """Return whether every room can be reached with some doors (by number) shut."""
        return all(self.doors_between(0, room, shut) >= 0 for room in range(1, self.rooms**2))

    def bridges(self) -> list[int]:
        """Return the doors that alone join two parts of the maze."""
        return [door for door in range(len(self.doors)) if not self.joined(frozenset({door}))]

    def draw_shut(self, rng: np.random.Generator, count: int) -> frozenset[int]:
        """Draw doors to shut, at most `count`, such that every room can still be reached."""
        shut: frozenset[int] = frozenset()
        for door in rng.permutation(len(self.doors)):
            if len(shut) < count and self.joined(shut | {int(door)}):
                shut |= {int(door)}
        return shut
