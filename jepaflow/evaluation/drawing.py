"""Small things that the contact sheet and the film share: letters, colours, and pictures fitted into cells.

The font is the one that matplotlib carries, so a picture looks the same on every machine.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

INK, FAINT, PAPER, GROUND = "#1d2430", "#6a7280", "#ffffff", "#eceef1"
STATE, ACTION, EVENT, CURSOR = "#1f5fa8", "#e0760b", "#7a2f9c", "#c8102e"
_ENLARGED = 2.0


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font at `size` px."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def elide(text: str, face: ImageFont.FreeTypeFont, width: int) -> str:
    """Return `text`, cut with an ellipsis where it is wider than `width` px."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(text: str, face: ImageFont.FreeTypeFont, width: int, lines: int) -> list[str]:
    """Break `text` at spaces into at most `lines` lines of `width` px; the last one is elided."""
    words = text.split()
    done: list[str] = []
    while words and len(done) < lines - 1:
        count = 1
        while count < len(words) and face.getlength(" ".join(words[: count + 1])) <= width:
            count += 1
        done.append(elide(" ".join(words[:count]), face, width))
        words = words[count:]
    return [*done, elide(" ".join(words), face, width)] if words else done


def fit(frame: np.ndarray | None, height: int, width: int) -> np.ndarray:
    """Scale a picture (H, W, 3) into a cell (height, width, 3), keeping its aspect; None says that it is missing.

    Enlarged pictures keep their pixels visible: a 64 px picture shall look like one.
    """
    if frame is None:
        return _missing(height, width)
    scale = min(height / frame.shape[0], width / frame.shape[1])
    size = max(1, min(width, round(frame.shape[1] * scale))), max(1, min(height, round(frame.shape[0] * scale)))
    method = Image.Resampling.NEAREST if scale >= _ENLARGED else Image.Resampling.BICUBIC
    picture = frame if size == frame.shape[1::-1] else np.asarray(Image.fromarray(frame).resize(size, method))
    if picture.shape[:2] == (height, width):
        return picture
    cell = np.empty((height, width, 3), dtype=np.uint8)
    cell[:] = ImageColor.getrgb(GROUND)[:3]
    top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
    cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return cell


@cache
def _missing(height: int, width: int) -> np.ndarray:
    image = Image.new("RGB", (width, height), "#3a3f47")
    face = font(max(9, min(16, width // 12)))
    words = elide("cannot be decoded", face, width)
    ImageDraw.Draw(image).text((width // 2, height // 2), words, "#ffffff", face, anchor="mm")
    return np.asarray(image)
