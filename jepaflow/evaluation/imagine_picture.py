"""Drawing of what a model imagined (`imagine`): a PNG with a row per source and a column per model step, or a film.

Under each frame stands the one number that judges it. The first column is the last frame that the model was given, so a
thick rule after it divides what it saw from what it imagined. Pictures are enlarged by whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.evaluation.drawing import FAINT, INK, PAPER, elide, fit, font, wrap
from jepaflow.evaluation.episode_view import EpisodeView, Trace
from jepaflow.evaluation.film import open_film
from jepaflow.evaluation.imagine import Imagination

TILE, MARGIN, GAP, LINE, WORDS = 128, 16, 6, 20, 132
"""TILE: side of a picture; WORDS: width of the rows' names, px."""
DIVIDE = 10
"""Width of the room for the rule between seen and imagined, px."""
MOST_COLUMNS = 12
WATCHED = 6.0
"""Seconds that the film lasts at least."""


@dataclass(frozen=True)
class _Line:
    """One row of the picture."""

    name: str
    more: str
    number: str
    """what the number under its frames is"""
    frames: np.ndarray
    numbers: list[str]


def check_output(path: Path) -> None:
    """Refuse a file that is neither a picture nor a film.

    Raises:
        JepaflowError: its name ends neither in .png nor in .mp4.
    """
    if path.suffix.lower() not in (".png", ".mp4"):
        raise JepaflowError(f"--output {path}: what is imagined becomes a .png or an .mp4 file. Name it so.")


def draw_imagination(path: Path, shown: Imagination) -> None:
    """Write a PNG, or a film where the name ends in .mp4.

    Raises:
        JepaflowError: the name ends in something else, or the file cannot be written.
    """
    check_output(path)
    if path.suffix.lower() == ".mp4":
        _film(path, shown)
        return
    columns = np.unique(np.linspace(0, shown.steps, min(shown.steps + 1, MOST_COLUMNS)).round().astype(int))
    width = max(WORDS + len(columns) * (TILE + GAP) + DIVIDE, 640)
    head, lines = _head(shown, width, columns), _lines(shown)
    height = head.height + LINE + len(lines) * (TILE + LINE + GAP)
    sheet = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), PAPER)
    sheet.paste(head, (MARGIN, MARGIN))
    top = MARGIN + head.height
    _columns_heads(ImageDraw.Draw(sheet), shown, columns, top)
    for number, line in enumerate(lines):
        _row(sheet, line, columns, top + LINE + number * (TILE + LINE + GAP))
    rule = MARGIN + WORDS + TILE + (GAP + DIVIDE) // 2
    ImageDraw.Draw(sheet).line((rule, top, rule, MARGIN + height - GAP), INK, 2)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


def caption(shown: Imagination) -> str:
    """Return how the picture is to be read."""
    frames = "frame" if len(shown.given) == 1 else "frames"
    given = f"{len(shown.given)} {frames} (control {'step' if len(shown.given) == 1 else 'steps'} "
    given += ", ".join(map(str, shown.given)) + ")"
    flattered = "The model was trained on this episode: the picture flatters. " if shown.trained_on else ""
    missing = "" if shown.other is not None else " No other held-out episode is long enough to lend its actions."
    return (
        f"{flattered}From {given} and the actions alone the model imagines {shown.steps} model steps of {shown.block} "
        "control steps each; it sees nothing right of the line. A decoder, trained afterwards, draws latents. Reconstructed: "
        "the real frame's own latent; what is missing there, the latent or the decoder does not hold. What is missing only "
        "in the imagined row, the forecast lost. Error: distance to the real frame's latent; 100 % = two training frames "
        f"drawn at random. Moved: the error of the forecast that nothing moves.{missing}"
    )


def title(shown: Imagination) -> str:
    """Return what is shown."""
    kind = "trained on" if shown.trained_on else "held out"
    return f"{shown.run} imagines episode {shown.episode} of {shown.store} ({kind}) · camera {shown.camera}"


def _lines(shown: Imagination) -> list[_Line]:
    """The rows, from top to bottom."""
    looks = shown.real[:: shown.block]
    lines = [
        _Line("real", "what came", "moved", looks, _percent(shown.still, "now")),
        _Line(
            "reconstructed", "decoded from the real frame's latent", "PSNR", shown.reconstructed,
            [f"{value:.1f} dB" for value in shown.psnr],
        ),
        _Line("imagined", "from the actions alone", "error", shown.imagined, _percent(shown.error, "given")),
    ]  # fmt: skip
    if shown.mismatched is not None and shown.mismatched_error is not None:
        more = f"with the actions of episode {shown.other}"
        lines.append(_Line("imagined", more, "error", shown.mismatched, _percent(shown.mismatched_error, "given")))
    return lines


def _percent(values: np.ndarray, first: str) -> list[str]:
    return [first, *(f"{100 * value:.0f} %" for value in values[1:])]


def _left(column: int) -> int:
    return MARGIN + WORDS + column * (TILE + GAP) + (DIVIDE if column else 0)


def _head(shown: Imagination, width: int, columns: np.ndarray) -> Image.Image:
    """Title and how to read the picture."""
    some = "" if len(columns) == shown.steps + 1 else f" {len(columns) - 1} of the {shown.steps} steps are shown."
    lines = wrap(caption(shown) + some, font(13), width, 12)
    image = Image.new("RGB", (width, 34 + 18 * len(lines)), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((0, 10), elide(title(shown), font(17, True), width), INK, font(17, True), anchor="lm")
    for number, line in enumerate(lines):
        draw.text((0, 34 + 18 * number), line, FAINT, font(13), anchor="lm")
    return image


def _columns_heads(draw: ImageDraw.ImageDraw, shown: Imagination, columns: np.ndarray, top: int) -> None:
    for place, step in enumerate(columns.tolist()):
        seconds = step * shown.block / shown.fps
        words = "last frame given" if step == 0 else f"step {step} · {seconds:.2g} s"
        draw.text((_left(place) + TILE // 2, top + LINE // 2), words, INK, font(12), anchor="mm")


def _row(sheet: Image.Image, line: _Line, columns: np.ndarray, top: int) -> None:
    """Paint one row: its name, its frames, the numbers under them."""
    draw, edge, middle = ImageDraw.Draw(sheet), MARGIN + WORDS - 10, top + TILE // 2
    draw.text((edge, middle - 10), line.name, INK, font(13, True), anchor="rm")
    for number, words in enumerate(wrap(line.more, font(11), WORDS - 14, 3)):
        draw.text((edge, middle + 8 + 14 * number), words, FAINT, font(11), anchor="rm")
    draw.text((edge, top + TILE + LINE // 2), line.number, FAINT, font(12), anchor="rm")
    for place, step in enumerate(columns.tolist()):
        left = _left(place)
        sheet.paste(Image.fromarray(fit(line.frames[step], TILE, TILE)), (left, top))
        draw.text((left + TILE // 2, top + TILE + LINE // 2), line.numbers[step], INK, font(12), anchor="mm")


def _film(path: Path, shown: Imagination) -> None:
    """Film the rows side by side, slowly enough to be followed."""
    length = len(shown.real)
    slower = max(1, round(WATCHED * shown.fps / length))
    looks = np.arange(length) // shown.block
    pictures = {"real": shown.real, "reconstructed": shown.reconstructed[looks], "imagined": shown.imagined[looks]}
    traces = [
        Trace("error of the imagined latent, %", 100 * shown.error[looks]),
        Trace("error of 'nothing moves', %", 100 * shown.still[looks]),
    ]
    if shown.mismatched is not None and shown.mismatched_error is not None:
        pictures[f"imagined, actions of episode {shown.other}"] = shown.mismatched[looks]
        traces.insert(1, Trace(f"error with actions of {shown.other}, %", 100 * shown.mismatched_error[looks]))

    def stream(camera: str, numbers: np.ndarray | None) -> Iterator[np.ndarray]:
        yield from pictures[camera] if numbers is None else pictures[camera][numbers]

    speed = "" if slower == 1 else f", {slower} times slower than real"
    words = f"Imagined from {len(shown.given)} frames and the actions alone{speed}. Errors: 100 % = two random frames."
    view = EpisodeView(
        f"{shown.run} imagines {shown.store}", shown.episode, length, shown.fps, words, tuple(pictures), stream,
        tuple(traces),
    )  # fmt: skip
    with open_film(path, 1.0 / slower) as film:
        film.add(view)
