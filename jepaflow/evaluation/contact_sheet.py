"""Contact sheet: one PNG that shows a few episodes as rows and their frames over time as columns, per camera.

Frames are taken at equal distances from the first to the last, scaled at once, and the picture grows episode by
episode: what is in memory is the sheet itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.evaluation.drawing import EVENT, FAINT, GROUND, INK, PAPER, elide, fit, font, wrap
from jepaflow.evaluation.episode_view import EpisodeView

TILE = 132
"""Height of a tile in px."""
MARGIN, GAP, LINE = 16, 6, 18
MOST_HEIGHT = 60_000
"""px; what readers of PNG files agree to open."""


class ContactSheet:
    """Collects episodes, then writes the picture.

    Args:
        columns: frames per episode.

    Raises:
        JepaflowError: there is nothing to show, or more than one picture can hold.
    """

    def __init__(self, columns: int = 8) -> None:
        if not 1 <= columns <= 64:
            raise JepaflowError(f"a contact sheet of {columns} columns cannot be read. Give 1 to 64.")
        self.columns = columns
        self._parts: list[Image.Image] = []

    def add(self, view: EpisodeView) -> None:
        """Draw one episode below the others.

        Raises:
            JepaflowError: the episode has no picture, or its files are broken.
        """
        if not view.cameras or not view.length:
            raise JepaflowError(f"episode {view.index} of {view.source} has no pictures. Choose another one.")
        numbers = np.unique(np.linspace(0, view.length - 1, self.columns).round().astype(int))
        cameras = {camera: _tiles(view, camera, numbers) for camera in view.cameras}
        width = max(tiles[0].shape[1] for tiles in cameras.values())  # one for all: a column is one moment
        across = self.columns * (width + GAP) - GAP
        self._parts.append(self._heading(view, across))
        self._parts += [
            _strip(camera if len(cameras) > 1 else "", tiles, width, across) for camera, tiles in cameras.items()
        ]
        self._parts.append(_captions(view, numbers, width, across))
        if sum(part.height for part in self._parts) > MOST_HEIGHT:
            raise JepaflowError(
                "the contact sheet grows too tall for a PNG file. Choose fewer --episodes or --cameras."
            )

    def _heading(self, view: EpisodeView, width: int) -> Image.Image:
        """Title line and task sentence of an episode."""
        title = f"{view.source} · episode {view.index}"
        facts = f"{view.seconds:.1f} s, {view.length} frames"
        facts += f", camera {view.cameras[0]}" if len(view.cameras) == 1 else ""
        task = wrap(view.task, font(13), width, 2)
        image = Image.new("RGB", (width, 12 + 22 + 19 * len(task)), PAPER)
        draw = ImageDraw.Draw(image)
        if self._parts:  # a rule between episodes
            draw.line((0, 5, width, 5), GROUND, 2)
        title = elide(title, font(14, True), width)
        draw.text((0, 22), title, INK, font(14, True), anchor="lm")
        begin = int(font(14, True).getlength(title)) + 14
        draw.text((begin, 22), elide(facts, font(12), max(0, width - begin)), FAINT, font(12), anchor="lm")
        for number, line in enumerate(task):
            draw.text((0, 41 + 19 * number), line, INK, font(13), anchor="lm")
        return image

    def save(self, path: Path) -> tuple[int, int]:
        """Write the PNG; returns (height, width) in px.

        Raises:
            JepaflowError: nothing was added, or the file cannot be written.
        """
        if not self._parts:
            raise JepaflowError("there is no episode to show. Choose one with --episodes.")
        width = max(part.width for part in self._parts) + 2 * MARGIN
        sheet = Image.new("RGB", (width, sum(part.height for part in self._parts) + 2 * MARGIN), PAPER)
        top = MARGIN
        for part in self._parts:
            sheet.paste(part, (MARGIN, top))
            top += part.height
        with atomic_path(path) as temporary:
            sheet.save(temporary, format="PNG")
        return sheet.height, sheet.width


def _tiles(view: EpisodeView, camera: str, numbers: np.ndarray) -> list[np.ndarray]:
    """A camera's frames of these numbers, each scaled to `TILE` px in height and one width."""
    tiles: list[np.ndarray] = []
    width = 0
    for frame in view.pictures(camera, numbers):
        if not width:
            height, across = (TILE, TILE) if frame is None else frame.shape[:2]
            width = min(4 * TILE, max(TILE // 2, round(TILE * across / height)))
        tiles.append(fit(frame, TILE, width))
    return tiles + [fit(None, TILE, width or TILE)] * (len(numbers) - len(tiles))


def _strip(name: str, tiles: list[np.ndarray], width: int, across: int) -> Image.Image:
    """One camera's tiles side by side in columns of `width` px, under its name where it needs one."""
    top = LINE if name else 0
    strip = Image.new("RGB", (across, top + TILE + GAP // 2), PAPER)
    if name:
        ImageDraw.Draw(strip).text((0, top // 2), elide(name, font(12), across), FAINT, font(12), anchor="lm")
    for column, tile in enumerate(tiles):
        strip.paste(Image.fromarray(tile), (column * (width + GAP) + (width - tile.shape[1]) // 2, top))
    return strip


def _captions(view: EpisodeView, numbers: np.ndarray, width: int, across: int) -> Image.Image:
    """The columns' times, and below them what has begun since the column before."""
    image = Image.new("RGB", (across, LINE + (LINE if view.events else 0) + GAP), PAPER)
    draw = ImageDraw.Draw(image)
    begin = 0
    for column, number in enumerate(numbers.tolist()):
        middle = column * (width + GAP) + width // 2
        draw.text((middle, 1), elide(f"{number / view.fps:.1f} s", font(12), width), INK, font(12), anchor="mt")
        words = ", ".join(event.text for event in view.events if begin <= event.frame <= number)
        draw.text((middle, LINE), elide(words, font(12, True), width), EVENT, font(12, True), anchor="mt")
        begin = number + 1
    return image
