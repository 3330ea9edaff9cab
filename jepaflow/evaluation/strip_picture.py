"""Drawing of strips (`strip`): per trial the goal picture at the left, then a column per look, imagined above real.

The error stands between the two pictures that it compares. Small pictures are enlarged by whole numbers, so that a
64 px picture looks like one. The film shows the three side by side, every control step of the real one, slowly enough
to be followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.evaluation.drawing import FAINT, GROUND, INK, PAPER, elide, fit, font, wrap
from jepaflow.evaluation.episode_view import EpisodeView, Event, Trace
from jepaflow.evaluation.film import open_film
from jepaflow.evaluation.strip import Strip, Strips

TILE, GOAL = 128, 256
"""Sides of a column's pictures and of the goal, px: whole multiples of 64."""
MARGIN, GAP, LINE, WORDS = 16, 6, 20, 84
"""WORDS: width of the rows' names."""
MOST_COLUMNS = 12
FRAME = 3
"""Thickness of the frame that says: the goal counts as reached, px."""
GOOD, SO_SO, BAD = "#0a6b2f", "#8a6a00", "#b01020"
WATCHED = 6.0
"""Seconds that a trial lasts in the film at least."""


def check_strip(path: Path, trials: int = 1) -> None:
    """Refuse a file that is neither a picture nor a film, and a strip of nothing.

    Raises:
        JepaflowError: its name ends neither in .png nor in .mp4, or there is no trial to show.
    """
    if trials < 1:
        raise JepaflowError(f"--strip-trials is {trials}. Give at least 1.")
    if path.suffix.lower() not in (".png", ".mp4"):
        raise JepaflowError(f"--strip {path}: a strip is a .png or an .mp4 file. Name it so.")


def draw_strips(path: Path, strips: Strips) -> None:
    """Write a PNG, or a film where the name ends in .mp4.

    Raises:
        JepaflowError: the name ends in something else, or the file cannot be written.
    """
    check_strip(path)
    if path.suffix.lower() == ".mp4":
        _film(path, strips)
        return
    looks = _columns(strips)
    across = GOAL + GAP + WORDS + len(looks) * (TILE + GAP)
    parts = [_head(strips, across, len(looks)), *(_trial(trial, strips, looks, across) for trial in strips.trials)]
    sheet = Image.new("RGB", (across + 2 * MARGIN, sum(part.height for part in parts) + 2 * MARGIN), PAPER)
    top = MARGIN
    for part in parts:
        sheet.paste(part, (MARGIN, top))
        top += part.height
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


def outcome_words(trial: Strip, strips: Strips) -> tuple[str, str]:
    """Return what came of a trial, and a colour for it."""
    steps, end = len(trial.reached) - 1, f"{trial.distance[-1]:.1f} {strips.unit}"
    if not trial.reached[1:].any():
        return f"not reached in {steps} control steps; {end} away at the end", BAD
    first = 1 + int(trial.reached[1:].argmax())
    words = f"reached at control step {first} of {steps} ({first / strips.fps:.1f} s)"
    if trial.reached[-1]:
        return f"{words}; {end} away at the end", GOOD
    return f"{words}, but left again; {end} away at the end", SO_SO


def caption(strips: Strips) -> str:
    """Return how a strip is to be read."""
    if strips.missing:
        return strips.missing
    ahead, it = ("one block", "it") if strips.horizon == 1 else (f"{strips.horizon} blocks", "them")
    again = "every block" if strips.execute == 1 else f"every {strips.execute} blocks"
    gap = float(np.median(np.concatenate([t.imagined.gap for t in strips.trials if t.imagined is not None])))
    return (
        f"Imagined: from the first picture alone the model plans {ahead} of {strips.block} control steps, imagines {it}, "
        f"plans on from there. Real: the same planner, which looked and planned anew {again}. There is no decoder: shown "
        "is the recorded training frame whose latent is nearest to the imagined one, so what the latent does not hold may "
        "differ. Error: how far the imagined latent is from the real frame's; 100 % = two recorded frames drawn at random "
        f"(the frames shown are {100 * gap:.0f} %, median, from what was imagined)."
    )


def _columns(strips: Strips) -> list[int]:
    """Return the looks that are shown: all, or as many at equal distances as can be seen."""
    last = (len(strips.trials[0].real) - 1) // strips.block
    looks = np.linspace(0, last, min(last + 1, MOST_COLUMNS)).round().astype(int)
    return [int(look) for look in np.unique(looks)]


def _head(strips: Strips, width: int, columns: int) -> Image.Image:
    """Title, which trials, how to read them."""
    every = f" {columns} of the looks are shown." if columns == MOST_COLUMNS else ""
    words = f"{strips.chosen}{every} Green frame: the goal counts as reached. {caption(strips)}"
    lines = wrap(words, font(13), width, 5)
    image = Image.new("RGB", (width, 30 + 18 * len(lines)), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((0, 10), elide(strips.title, font(17, True), width), INK, font(17, True), anchor="lm")
    for number, line in enumerate(lines):
        draw.text((0, 36 + 18 * number), line, FAINT, font(13), anchor="lm")
    return image


def _trial(trial: Strip, strips: Strips, looks: list[int], width: int) -> Image.Image:
    """One trial: goal, columns, what came of it."""
    rows = 2 if trial.imagined is not None else 1
    top = 3 * LINE  # rule and outcome, columns' times
    body = max(GOAL, rows * TILE + (rows - 1) * LINE)
    image = Image.new("RGB", (width, top + body + GAP), PAPER)
    draw = ImageDraw.Draw(image)
    draw.line((0, 8, width, 8), GROUND, 2)
    words, colour = outcome_words(trial, strips)
    draw.text((0, LINE + 8), f"Trial {trial.number}: {words}", colour, font(15, True), anchor="lm")
    draw.text((0, 2 * LINE + 12), "goal", INK, font(13, True), anchor="lm")
    image.paste(Image.fromarray(fit(trial.goal, GOAL, GOAL)), (0, top))
    real_top = top + (rows - 1) * (TILE + LINE)
    left = GOAL + GAP
    _name(draw, left, real_top, "real", "")
    if trial.imagined is not None:
        _name(draw, left, top, "imagined", "nearest recorded frame")
        draw.text((left + WORDS - 8, top + TILE + LINE // 2), "error", FAINT, font(12), anchor="rm")
    for column, look in enumerate(looks):
        step = look * strips.block
        x = left + WORDS + column * (TILE + GAP)
        heading = "start" if step == 0 else f"step {step} · {step / strips.fps:.1f} s"
        draw.text((x + TILE // 2, 2 * LINE + 12), heading, INK, font(12), anchor="mm")
        image.paste(Image.fromarray(fit(trial.real[step], TILE, TILE)), (x, real_top))
        if trial.reached[step]:
            draw.rectangle((x, real_top, x + TILE - 1, real_top + TILE - 1), outline=GOOD, width=FRAME)
        if trial.imagined is not None:
            image.paste(Image.fromarray(fit(trial.imagined.frames[look], TILE, TILE)), (x, top))
            number = "seen" if look == 0 else f"{100 * trial.imagined.error[look]:.0f} %"
            draw.text((x + TILE // 2, top + TILE + LINE // 2), number, INK, font(12), anchor="mm")
    return image


def _name(draw: ImageDraw.ImageDraw, left: int, top: int, name: str, more: str) -> None:
    """Write a row's name to the left of its pictures."""
    edge, middle = left + WORDS - 8, top + TILE // 2
    draw.text((edge, middle - 8), name, INK, font(13, True), anchor="rm")
    for number, line in enumerate(wrap(more, font(11), WORDS - 12, 3)):
        draw.text((edge, middle + 10 + 14 * number), line, FAINT, font(11), anchor="rm")


def _film(path: Path, strips: Strips) -> None:
    """Film one trial after the other."""
    seconds = len(strips.trials[0].real) / strips.fps
    slower = max(1, round(WATCHED / seconds))
    with open_film(path, 1.0 / slower) as film:
        for trial in strips.trials:
            film.add(_view(trial, strips, slower))


def _view(trial: Strip, strips: Strips, slower: int) -> EpisodeView:
    """Return a trial as an episode with three cameras."""
    length = len(trial.real)
    looks = np.minimum(np.arange(length) // strips.block, (length - 1) // strips.block)
    pictures = {"goal": np.broadcast_to(trial.goal, trial.real.shape)}
    traces = [Trace(f"distance to the goal, {strips.unit}", trial.distance)]
    if trial.imagined is not None:
        pictures["imagined from the start (nearest recorded frame)"] = trial.imagined.frames[looks]
        traces.append(
            Trace("error of what was imagined, % (100: two random frames)", 100 * trial.imagined.error[looks])
        )
    pictures["real"] = trial.real

    def stream(camera: str, numbers: np.ndarray | None) -> Iterator[np.ndarray]:
        yield from pictures[camera] if numbers is None else pictures[camera][numbers]

    speed = "" if slower == 1 else f" ({slower} times slower than real)"
    text = f"Trial {trial.number}: {outcome_words(trial, strips)[0]}{speed}. {strips.missing}"
    turns = np.flatnonzero(np.diff(trial.reached.astype(int))) + 1
    events = tuple(Event(int(t), "goal reached" if trial.reached[t] else "goal left") for t in turns)
    return EpisodeView(
        strips.title, trial.number, length, strips.fps, text, tuple(pictures), stream, tuple(traces),
        events=events, eventful=True,
    )  # fmt: skip
