"""Push-T's picture: an anti-aliased T and disc over a white floor, at any size, in numpy alone.

A pixel's share of a bar is the product of its shares of two strips (along and across the bar), each a linear ramp as
wide as the pixel looks from that direction; the two bars meet edge to edge, so the T's share is their sum. Only the few
pixels around each thing are touched. Colours are upstream's (light slate grey block, royal blue agent).

The observation shows no goal: a goal is a picture of the world at the goal, and a ghost T that stays put while the real
goal changes would tell a model nothing. `draw_goal` brings upstream's ghost back; `render()` draws it for people.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32, UInt8

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.push_t_geometry import BARS, OUTLINE, WINDOW, Pose, PushTConfig

FLOOR = np.array([255.0, 255.0, 255.0], np.float32)
WALL = np.array([211.0, 211.0, 211.0], np.float32)
BLOCK = np.array([119.0, 136.0, 153.0], np.float32)
AGENT = np.array([65.0, 105.0, 225.0], np.float32)
GOAL = np.array([144.0, 238.0, 144.0], np.float32)
WALL_WIDTH = 4.0
"""px of wall that are drawn, from its inner face outwards."""


def _covered(low: float, high: float, size: int) -> Float32[np.ndarray, " S"]:
    """Return the share of each of `size` pixels (along one axis) that lies in the window's interval [low, high]."""
    edges = np.linspace(0.0, WINDOW, size + 1)
    shares = (np.clip(edges[1:], low, high) - np.clip(edges[:-1], low, high)) * (size / WINDOW)
    return shares.astype(np.float32)


class PushTPainter:
    """Draws Push-T at one image size.

    Args:
        config: the world to draw.
        size: side of the square picture in pixels, at least 8.

    Raises:
        JepaflowError: the size is too small to show anything.
    """

    def __init__(self, config: PushTConfig, size: int) -> None:
        if size < 8:
            raise JepaflowError(f"an image size of {size} px shows nothing of Push-T. Ask for at least 8, e.g. 64.")
        self.config, self.size, self.scale = config, size, size / WINDOW
        inner = _covered(config.low, config.high, size)
        outer = _covered(config.low - WALL_WIDTH, config.high + WALL_WIDTH, size)
        share = (np.outer(outer, outer) - np.outer(inner, inner))[..., None]
        self._background: UInt8[np.ndarray, "S S 3"] = np.rint(FLOOR + share * (WALL - FLOOR)).astype(np.uint8)
        self._centres = np.arange(size, dtype=np.float32) + np.float32(0.5)

    def draw(self, agent: tuple[float, float], block: Pose, goal: Pose | None = None) -> UInt8[np.ndarray, "S S 3"]:
        """Return the picture; with `goal`, that pose's T is drawn first, in pale green."""
        picture = self._background.copy()
        if goal is not None:
            self._tee(picture, goal, GOAL)
        self._tee(picture, block, BLOCK)
        self._disc(picture, agent)
        return picture

    def _window(self, low_x: float, low_y: float, high_x: float, high_y: float) -> tuple[slice, slice] | None:
        """Return the (row, column) slices of the pixels that a box (in pixels) may touch, None where there are none."""
        left, right = max(0, math.floor(low_x - 1.0)), min(self.size, math.ceil(high_x + 1.0))
        top, bottom = max(0, math.floor(low_y - 1.0)), min(self.size, math.ceil(high_y + 1.0))
        return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None

    def _tee(self, picture: UInt8[np.ndarray, "S S 3"], pose: Pose, colour: Float32[np.ndarray, " 3"]) -> None:
        c, s = math.cos(pose[2]), math.sin(pose[2])
        unit = self.config.scale * self.scale
        xs = [pose[0] * self.scale + unit * (c * u - s * v) for u, v in OUTLINE]
        ys = [pose[1] * self.scale + unit * (s * u + c * v) for u, v in OUTLINE]
        where = self._window(min(xs), min(ys), max(xs), max(ys))
        if where is None:
            return
        across, down = self._centres[where[1]] - pose[0] * self.scale, self._centres[where[0]] - pose[1] * self.scale
        u = np.add.outer(s * down, c * across)  # the block's own x and y, in pixels
        v = np.add.outer(c * down, -s * across)
        steep = 1.0 / (abs(c) + abs(s))  # a pixel seen at this angle is this much wider than one
        u, v, unit = u * np.float32(steep), v * np.float32(steep), unit * steep
        shares = [
            _strip(u, left * unit, right * unit) * _strip(v, top * unit, bottom * unit)
            for left, top, right, bottom in BARS
        ]
        _blend(picture[where], shares[0] + shares[1], colour)

    def _disc(self, picture: UInt8[np.ndarray, "S S 3"], agent: tuple[float, float]) -> None:
        x, y, radius = agent[0] * self.scale, agent[1] * self.scale, self.config.agent_radius * self.scale
        where = self._window(x - radius, y - radius, x + radius, y + radius)
        if where is None:
            return
        across, down = self._centres[where[1]] - np.float32(x), self._centres[where[0]] - np.float32(y)
        rim = np.sqrt(np.add.outer(down * down, across * across))
        _blend(picture[where], 1.0 - _ramp(rim, radius), AGENT)


def _ramp(u: Float32[np.ndarray, "h w"], edge: float) -> Float32[np.ndarray, "h w"]:
    """Return each pixel's share beyond `edge`: a step of one pixel's width (minimum and maximum outrun np.clip here)."""
    share = u - np.float32(edge - 0.5)
    np.maximum(share, np.float32(0.0), out=share)
    np.minimum(share, np.float32(1.0), out=share)
    return share


def _strip(u: Float32[np.ndarray, "h w"], low: float, high: float) -> Float32[np.ndarray, "h w"]:
    """Return each pixel's share of low <= u <= high; neighbouring strips' shares sum to 1 at their common edge."""
    share = _ramp(u, low)
    share -= _ramp(u, high)
    return share


def _blend(
    patch: UInt8[np.ndarray, "h w 3"], share: Float32[np.ndarray, "h w"], colour: Float32[np.ndarray, " 3"]
) -> None:
    """Mix `colour` into the patch of the picture, in place."""
    mixed = patch.astype(np.float32)
    mixed += share[..., None] * (colour - mixed)
    mixed += np.float32(0.5)
    patch[...] = mixed.astype(np.uint8)
