"""How a camera frame becomes a square of the training size: one stated rule, applied once, at conversion.

``crop`` (default) scales the short side to the target and keeps the centre, ``pad`` scales the long side and fills with
black, ``squash`` ignores the aspect. Shrinking averages areas (antialiased); training and acting must use the same
rule, so its name is stored with the data. Video frames are scaled by swscale straight from YUV: one pass, no
full-size RGB copy, which is what keeps conversion close to the speed of decoding.
"""

from dataclasses import dataclass

import av
import numpy as np
from PIL import Image

from jepaflow.common.errors import JepaflowError

FITS = ("crop", "pad", "squash")


@dataclass(frozen=True)
class ImageRule:
    """Target side ``size`` in pixels and how the aspect is handled ("crop", "pad" or "squash")."""

    size: int = 224
    fit: str = "crop"

    def __post_init__(self) -> None:
        if self.size < 8:
            raise JepaflowError(f"The image size is {self.size}. Choose at least 8 pixels.")
        if self.fit not in FITS:
            raise JepaflowError(f"The fit {self.fit!r} is unknown. Choose one of: {', '.join(FITS)}.")

    def describe(self) -> str:
        """The rule in words, as kept in the store."""
        return {
            "crop": f"short side to {self.size}, centre crop",
            "pad": f"long side to {self.size}, centred on black",
            "squash": f"both sides to {self.size}, aspect ignored",
        }[self.fit]

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after scaling, before the crop or the padding."""
        if self.fit == "squash":
            return self.size, self.size
        side = min(height, width) if self.fit == "crop" else max(height, width)
        return max(1, round(height * self.size / side)), max(1, round(width * self.size / side))

    def from_video(self, frame: av.VideoFrame) -> np.ndarray:
        """A decoded frame as uint8 ``(size, size, 3)``."""
        height, width = self.scaled(frame.height, frame.width)
        if (height, width) == (frame.height, frame.width):
            # Without scaling, swscale leaves columns of planar RGB unwritten at some widths (24, 40, 100, ...).
            return self._fit(frame.to_ndarray(format="rgb24"))
        shrinks = height <= frame.height and width <= frame.width
        # Planar RGB: the same bytes as "rgb24" at half the price, for swscale has no fast path to packed RGB.
        scaled = frame.reformat(
            width=width, height=height, format="gbrp", interpolation="AREA" if shrinks else "BICUBIC", threads=1
        )
        square = np.zeros((self.size, self.size, 3), dtype=np.uint8)
        source, target = self._windows(height, width)
        for channel, plane in zip((1, 2, 0), scaled.planes, strict=True):
            pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
            square[target[0], target[1], channel] = pixels[source]
        return square

    def from_array(self, frame: np.ndarray) -> np.ndarray:
        """A uint8 frame ``(H, W, 3)`` as uint8 ``(size, size, 3)``; one that has the size already stays as it is."""
        height, width = self.scaled(frame.shape[0], frame.shape[1])
        if (height, width) != frame.shape[:2]:
            shrinks = height <= frame.shape[0] and width <= frame.shape[1]
            method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
            frame = np.asarray(Image.fromarray(frame).resize((width, height), method))
        return self._fit(frame)

    def _fit(self, frame: np.ndarray) -> np.ndarray:
        if frame.shape[:2] == (self.size, self.size):
            return frame
        square = np.zeros((self.size, self.size, 3), dtype=np.uint8)
        source, target = self._windows(frame.shape[0], frame.shape[1])
        square[target] = frame[source]
        return square

    def _windows(self, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The part of a scaled frame that is kept, and where in the square it goes."""
        both = [_centre(height, self.size), _centre(width, self.size)]
        return (both[0][0], both[1][0]), (both[0][1], both[1][1])


def _centre(length: int, size: int) -> tuple[slice, slice]:
    """Along one side: the middle of the longer of frame and square, the whole of the shorter."""
    start, kept = abs(length - size) // 2, min(length, size)
    middle, whole = slice(start, start + kept), slice(0, kept)
    return (middle, whole) if length > size else (whole, middle)
