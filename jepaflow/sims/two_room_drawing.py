"""Two-Room's picture: an anti-aliased red disc over a still background, at any size, in numpy alone.

The background is drawn once per size (each pixel's exact share of wall), the disc only in its own few pixels: a 64 px
picture costs some 15 microseconds. Anti-aliasing is what makes sub-pixel motion visible at 64 px, where one control
step is 1.4 px. The target is not part of the picture that a model sees: a goal is a picture of the agent at the goal.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.two_room_geometry import WORLD, Point, TwoRoomConfig

FLOOR = np.array([255.0, 255.0, 255.0])
WALL = np.array([40.0, 40.0, 48.0])
AGENT = np.array([220.0, 30.0, 30.0])
TARGET = np.array([40.0, 160.0, 70.0])


def _covered(low: float, high: float, size: int) -> Float[np.ndarray, " S"]:
    """Return the share of each of `size` pixels (along one axis) that lies in the world interval [low, high]."""
    edges = np.linspace(0.0, WORLD, size + 1)
    return (np.clip(edges[1:], low, high) - np.clip(edges[:-1], low, high)) * (size / WORLD)


class TwoRoomPainter:
    """Draws Two-Room at one image size.

    Args:
        config: the world to draw.
        size: side of the square picture in pixels, at least 8.

    Raises:
        JepaflowError: the size is too small to show anything.
    """

    def __init__(self, config: TwoRoomConfig, size: int) -> None:
        if size < 8:
            raise JepaflowError(f"an image size of {size} px shows nothing of Two-Room. Ask for at least 8, e.g. 64.")
        self.config, self.size, self.scale = config, size, size / WORLD
        inner = _covered(config.border, WORLD - config.border, size)
        solid = 1.0 - np.outer(inner, inner)
        for left, top, right, bottom in config.walls():
            solid = np.maximum(solid, np.outer(_covered(top, bottom, size), _covered(left, right, size)))
        blend = FLOOR + solid[..., None] * (WALL - FLOOR)
        self._background: UInt8[np.ndarray, "S S 3"] = np.rint(blend).astype(np.uint8)
        self._centres = (np.arange(size) + 0.5).astype(np.float64)

    def draw(self, agent: Point, target: Point | None = None) -> UInt8[np.ndarray, "S S 3"]:
        """Return the picture with the agent at `agent`; with `target`, a green disc there too (for people only)."""
        picture = self._background.copy()
        if target is not None:
            self._disc(picture, target, TARGET)
        self._disc(picture, agent, AGENT)
        return picture

    def _disc(self, picture: UInt8[np.ndarray, "S S 3"], centre: Point, colour: Float[np.ndarray, " 3"]) -> None:
        """Blend a disc of the agent's radius into `picture`; a pixel's share is its distance to the rim, clipped."""
        x, y, radius = centre[0] * self.scale, centre[1] * self.scale, self.config.radius * self.scale
        left, right = max(0, int(x - radius - 1)), min(self.size, int(x + radius + 2))
        top, bottom = max(0, int(y - radius - 1)), min(self.size, int(y + radius + 2))
        across, down = self._centres[left:right] - x, self._centres[top:bottom] - y
        distance = np.sqrt(down[:, None] ** 2 + across[None, :] ** 2)
        share = np.clip(radius - distance + 0.5, 0.0, 1.0)[..., None]
        patch = picture[top:bottom, left:right]
        patch += np.rint(share * (colour - patch)).astype(np.int16).astype(np.uint8)  # modulo 256 on purpose
