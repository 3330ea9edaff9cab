"""Example strips of a surprise measurement: per violation the film as it was, the impossible one, surprise under each frame.

The example is the first pair that was played, not the best one. What is seen by several cameras stands one above the
other in one tile.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from jepaflow.common.files import atomic_path
from jepaflow.diagnosis.surprise import Surprise
from jepaflow.diagnosis.surprise_answers import LEAD, Answers, Example
from jepaflow.evaluation.drawing import ACTION, CURSOR, FAINT, INK, PAPER, fit, font, wrap

TILE, MARGIN, GAP, LINE, WORDS = 128, 16, 5, 19, 92
"""TILE: side of one camera's picture; WORDS: width of the rows' names, px."""
COLUMNS, APART = 2, 28
"""Strips side by side, and px between them."""


def draw_examples(path: Path, found: Surprise, run: str) -> None:
    """Write the strips as one PNG.

    Args:
        path: the file.
        found: what was measured.
        run: the run's name.

    Raises:
        JepaflowError: the file cannot be written.
    """
    strips = [_strip(answer, answer.example) for answer in found.answers if answer.example is not None]
    cell = max([600, *(strip.width for strip in strips)])
    lines = [strips[i : i + COLUMNS] for i in range(0, len(strips), COLUMNS)]
    width = cell * min(COLUMNS, max(1, len(strips))) + APART * (min(COLUMNS, max(1, len(strips))) - 1)
    words = (
        f"The first pair of each violation in {found.config.env}, frames one model step ({found.block} control steps) apart. "
        "Both films share the actions and every frame before the event. Under each frame: surprise, the z-score of the "
        "forecast's error against normal motion. Red: judged, the films differ visibly; orange: after the event, not judged yet."
    )
    said = wrap(words, font(13), width, 5)
    head = 34 + 18 * len(said) + GAP
    height = head + sum(max(strip.height for strip in line) for line in lines)
    sheet = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN + 10), f"{run}: is it surprised by the impossible?", INK, font(17, True), anchor="lm")
    for number, text in enumerate(said):
        draw.text((MARGIN, MARGIN + 36 + 18 * number), text, FAINT, font(13), anchor="lm")
    top = MARGIN + head
    for line in lines:
        for place, strip in enumerate(line):
            sheet.paste(strip, (MARGIN + place * (cell + APART), top))
        top += max(strip.height for strip in line)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


def _strip(answer: Answers, example: Example) -> Image.Image:
    """Two rows of frames."""
    count, views = example.normal.frames.shape[:2]
    high = views * (TILE + 2) - 2
    width = WORDS + count * (TILE + GAP)
    image = Image.new("RGB", (width, LINE + 6 + 2 * (high + LINE + GAP) + 10), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((0, 10), f"{answer.kind}: {answer.what}", INK, font(14, True), anchor="lm")
    judged = count - (answer.curves["model"][0].shape[-1] - LEAD)
    for row, (name, film) in enumerate((("normal", example.normal), ("violated", example.violated))):
        top = LINE + 6 + row * (high + LINE + GAP)
        draw.text((WORDS - 10, top + high // 2), name, INK, font(13, True), anchor="rm")
        draw.text((WORDS - 10, top + high + LINE // 2), "surprise, z", FAINT, font(12), anchor="rm")
        for place in range(count):
            left, z = WORDS + place * (TILE + GAP), example.z[row, place]
            for view in range(views):
                picture = Image.fromarray(fit(film.frames[place, view], TILE, TILE))
                image.paste(picture, (left, top + view * (TILE + 2)))
            marked = row == 1 and place >= judged
            text = f"{z:+.1f}".replace("-", "−") if np.isfinite(z) else "–"
            face = font(12, marked)
            draw.text((left + TILE // 2, top + high + LINE // 2), text, CURSOR if marked else INK, face, anchor="mm")
            if marked or (row == 1 and place >= example.edit):
                edge = CURSOR if marked else ACTION
                draw.rectangle((left - 2, top - 2, left + TILE + 1, top + high + 1), outline=edge, width=2)
    return image
