"""The picture of a disc's world: an anti-aliased red disc over a still background, at any size, in numpy alone.

The background is drawn once per size (each pixel's exact share of wall), the disc only in its own few pixels: a 64 px
picture costs some 15 microseconds. A shut door has a colour of its own. Anti-aliasing is what makes sub-pixel motion
visible at 64 px, where one control step is 1.4 px. The target is not part of the picture that a model sees: a goal is a
picture of the agent at the goal.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.disc import WORLD, Arena, Point, Rect

FLOOR = np.array([255.0, 255.0, 255.0])
WALL = np.array([40.0, 40.0, 48.0])
AGENT = np.array([220.0, 30.0, 30.0])
TARGET = np.array([40.0, 160.0, 70.0])
SHUT = np.array([225.0, 150.0, 30.0])
KEPT = 64
"""Backgrounds that a painter keeps."""


def _covered(low: float, high: float, size: int) -> Float[np.ndarray, " S"]:
    """Return the share of each of `size` pixels (along one axis) that lies in the world interval [low, high]."""
    edges = np.linspace(0.0, WORLD, size + 1)
    return (np.clip(edges[1:], low, high) - np.clip(edges[:-1], low, high)) * (size / WORLD)


class DiscPainter:
    """Draws a disc's world at one image size.

    Args:
        arena: the world to draw.
        size: side of the square picture in pixels, at least 8.

    Raises:
        JepaflowError: the size is too small to show anything.
    """

    def __init__(self, arena: Arena, size: int) -> None:
        if size < 8:
            raise JepaflowError(f"an image size of {size} px shows nothing of the world. Ask for at least 8, e.g. 64.")
        self.arena, self.size, self.scale = arena, size, size / WORLD
        inner = _covered(arena.border, WORLD - arena.border, size)
        solid = 1.0 - np.outer(inner, inner)
        for wall in arena.walls():
            solid = np.maximum(solid, self._share(wall))
        self._open = FLOOR + solid[..., None] * (WALL - FLOOR)
        self._backgrounds: dict[tuple[Rect, ...], UInt8[np.ndarray, "S S 3"]] = {}
        self.agent_colour: Float[np.ndarray, " 3"] | None = AGENT
        """The disc's colour; None draws no agent. For making impossible events (`edits`), never in a recording."""
        self._centres = (np.arange(size) + 0.5).astype(np.float64)

    def draw(
        self, agent: Point, target: Point | None = None, shut: tuple[Rect, ...] = ()
    ) -> UInt8[np.ndarray, "S S 3"]:
        """Return the picture with the agent at `agent` and doors `shut`; with `target`, a green disc there (for people only)."""
        picture = self._background(shut).copy()
        if target is not None:
            self._disc(picture, target, TARGET)
        if self.agent_colour is not None:
            self._disc(picture, agent, self.agent_colour)
        return picture

    def _background(self, shut: tuple[Rect, ...]) -> UInt8[np.ndarray, "S S 3"]:
        """Return the still part; the last few are kept."""
        if shut not in self._backgrounds:
            blend = self._open
            for door in shut:
                blend = blend + self._share(door)[..., None] * (SHUT - blend)
            if len(self._backgrounds) >= KEPT:
                self._backgrounds.clear()
            self._backgrounds[shut] = np.rint(blend).astype(np.uint8)
        return self._backgrounds[shut]

    def _share(self, rect: Rect) -> Float[np.ndarray, "S S"]:
        """Return each pixel's share of a rectangle."""
        left, top, right, bottom = rect
        return np.outer(_covered(top, bottom, self.size), _covered(left, right, self.size))

    def _disc(self, picture: UInt8[np.ndarray, "S S 3"], centre: Point, colour: Float[np.ndarray, " 3"]) -> None:
        """Blend a disc of the agent's radius into `picture`; a pixel's share is its distance to the rim, clipped."""
        x, y, radius = centre[0] * self.scale, centre[1] * self.scale, self.arena.radius * self.scale
        left, right = max(0, int(x - radius - 1)), min(self.size, int(x + radius + 2))
        top, bottom = max(0, int(y - radius - 1)), min(self.size, int(y + radius + 2))
        across, down = self._centres[left:right] - x, self._centres[top:bottom] - y
        distance = np.sqrt(down[:, None] ** 2 + across[None, :] ** 2)
        share = np.clip(radius - distance + 0.5, 0.0, 1.0)[..., None]
        patch = picture[top:bottom, left:right]
        patch += np.rint(share * (colour - patch)).astype(np.int16).astype(np.uint8)  # modulo 256 on purpose
