"""The Reacher's picture: anti-aliased capsules over a still floor, in numpy alone, no OpenGL.

Seen from above as dm_control's camera does, a little nearer (the arm's reach fills the picture, the arena's rim is left
out) so that the thin arm is two pixels wide at 64 px. A pixel's share of a capsule is its distance to the rim, clipped.
The hand is lighter than the arm and drawn over it, so a folded arm can be read. The target is not in the picture that a
model sees: a goal is a picture of the arm at the goal.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Float32, UInt8

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.reacher_model import RADIUS, joints

VIEW = 0.27
"""m from the picture's middle, where the shoulder is, to its side."""
FLOOR, TILE = np.array([26.0, 51.0, 77.0], np.float32), np.array([36.0, 63.0, 90.0], np.float32)
ROOT = np.array([77.0, 128.0, 179.0], np.float32)
ARM_COLOUR, HAND_COLOUR = np.array([179.0, 128.0, 77.0], np.float32), np.array([222.0, 178.0, 120.0], np.float32)
FINGER_COLOUR = np.array([240.0, 105.0, 60.0], np.float32)
TARGET = np.array([110.0, 200.0, 120.0], np.float32)
ROOT_RADIUS = 0.014
TILE_SIZE = 0.09


class ReacherPainter:
    """Draws the Reacher at one image size.

    Args:
        size: side of the square picture in pixels, at least 8.

    Raises:
        JepaflowError: the size is too small to show anything.
    """

    def __init__(self, size: int) -> None:
        if size < 8:
            raise JepaflowError(
                f"an image size of {size} px shows nothing of the Reacher. Ask for at least 8, e.g. 64."
            )
        self.size, self.scale = size, size / (2.0 * VIEW)
        self._centres = np.arange(size, dtype=np.float32) + np.float32(0.5)
        fine = (np.arange(size * 8) + 0.5) / (8 * self.scale)
        odd = np.where(np.floor(fine / TILE_SIZE) % 2 == 1.0, 1.0, -1.0).reshape(size, 8).mean(1)
        share = (0.5 + 0.5 * np.outer(odd, odd))[..., None]  # +-1 times +-1: a checker, averaged over the pixel
        self._background: UInt8[np.ndarray, "S S 3"] = np.rint(FLOOR + share * (TILE - FLOOR)).astype(np.uint8)

    def draw(self, pose: tuple[float, float], target: tuple[float, float] | None = None) -> UInt8[np.ndarray, "S S 3"]:
        """Return the picture of the arm at (shoulder, wrist); with `target`, that pose's arm is drawn first, in green."""
        picture = self._background.copy()
        if target is not None:
            base, elbow, tip, finger = self._pixels(target)
            for a, b in ((base, elbow), (elbow, tip), (finger, finger)):
                self._capsule(picture, a, b, RADIUS, TARGET)
        base, elbow, tip, finger = self._pixels(pose)
        self._capsule(picture, base, elbow, RADIUS, ARM_COLOUR)
        self._capsule(picture, base, base, ROOT_RADIUS, ROOT)
        self._capsule(picture, elbow, tip, RADIUS, HAND_COLOUR)
        self._capsule(picture, finger, finger, RADIUS, FINGER_COLOUR)
        return picture

    def _pixels(self, pose: tuple[float, float]) -> list[tuple[float, float]]:
        """Return the four joints in pixels (x right, y down)."""
        half = self.size / 2.0
        return [(half + x * self.scale, half - y * self.scale) for x, y in joints(*pose).tolist()]

    def _capsule(
        self,
        picture: UInt8[np.ndarray, "S S 3"],
        a: tuple[float, float],
        b: tuple[float, float],
        radius: float,
        colour: Float32[np.ndarray, " 3"],
    ) -> None:
        """Blend a capsule from `a` to `b` (pixels) of `radius` m into the picture."""
        wide = radius * self.scale
        left, right = self._range(min(a[0], b[0]) - wide, max(a[0], b[0]) + wide)
        top, bottom = self._range(min(a[1], b[1]) - wide, max(a[1], b[1]) + wide)
        across, down = self._centres[left:right] - np.float32(a[0]), self._centres[top:bottom] - np.float32(a[1])
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = math.hypot(dx, dy)
        if length == 0.0:
            away = np.sqrt(np.add.outer(down * down, across * across))
        else:
            c, s = np.float32(dx / length), np.float32(dy / length)
            along = np.add.outer(s * down, c * across)
            off = np.add.outer(c * down, -s * across)
            along -= np.minimum(np.maximum(along, np.float32(0.0)), np.float32(length))  # beyond which end, how far
            away = np.sqrt(along * along + off * off)
        share = np.float32(wide + 0.5) - away
        np.maximum(share, np.float32(0.0), out=share)
        np.minimum(share, np.float32(1.0), out=share)
        patch = picture[top:bottom, left:right]
        mixed = patch.astype(np.float32)
        mixed += share[..., None] * (colour - mixed)
        mixed += np.float32(0.5)
        patch[...] = mixed.astype(np.uint8)

    def _range(self, low: float, high: float) -> tuple[int, int]:
        """Return the pixels (first, last + 1) of one axis that an interval may touch."""
        return max(0, math.floor(low - 1.0)), min(self.size, math.ceil(high + 1.0))


def finger_places(states: Float[np.ndarray, "... 4"]) -> Float[np.ndarray, "... 2"]:
    """Return where the fingers of simulator states lie in the picture, as shares of its side."""
    flat = np.asarray(states, dtype=np.float64).reshape(-1, np.shape(states)[-1])
    fingers = np.array([joints(row[0], row[1])[3] for row in flat]).reshape(*np.shape(states)[:-1], 2)
    shares: Float[np.ndarray, "... 2"] = 0.5 + fingers * np.array([1.0, -1.0]) / (2.0 * VIEW)
    return shares
