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
        shrinks = height <= frame.height and width <= frame.width
        scaled = frame.reformat(
            width=width, height=height, format="rgb24", interpolation="AREA" if shrinks else "BICUBIC", threads=1
        )
        return self._fit(scaled.to_ndarray())

    def from_array(self, frame: np.ndarray) -> np.ndarray:
        """A uint8 frame ``(H, W, 3)`` as uint8 ``(size, size, 3)``; one that has the size already stays as it is."""
        height, width = self.scaled(frame.shape[0], frame.shape[1])
        if (height, width) != frame.shape[:2]:
            shrinks = height <= frame.shape[0] and width <= frame.shape[1]
            method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
            frame = np.asarray(Image.fromarray(frame).resize((width, height), method))
        return self._fit(frame)

    def _fit(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        if (height, width) == (self.size, self.size):
            return frame
        top, left = abs(height - self.size) // 2, abs(width - self.size) // 2
        if self.fit == "crop":
            return frame[top : top + self.size, left : left + self.size]
        square = np.zeros((self.size, self.size, 3), dtype=np.uint8)
        square[top : top + height, left : left + width] = frame
        return square
