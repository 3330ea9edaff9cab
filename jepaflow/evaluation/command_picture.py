"""Pictures of a command: the strip of sub-goals as a PNG, and the film: sub-goal, imagined and real side by side.

A sub-goal is shown as the recorded frame that it is. Where the run has a decoder, what the model's latent holds of it is drawn
below, and what is imagined is drawn by it as well; without one, the recorded frame whose latent is nearest stands for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.evaluation.command_story import Story
from jepaflow.evaluation.commanded import Knowledge
from jepaflow.evaluation.drawing import FAINT, INK, PAPER, elide, fit, font, wrap
from jepaflow.evaluation.episode_view import EpisodeView, Trace
from jepaflow.evaluation.episode_view import Event as Shown
from jepaflow.evaluation.film import open_film
from jepaflow.subgoals.language.commander import Made
from jepaflow.subgoals.language.request import Request
from jepaflow.training.decoder_figures import nearest
from jepaflow.training.decoding import load_decoder
from jepaflow.training.latents import cached_latents
from jepaflow.worldmodel.decoder import Decoder

TILE, GAP, MARGIN, LINE = 112, 6, 16, 18
ACROSS = 10
"""sub-goals in a row"""
PLANS = 4
"""plans in a strip, at most"""
DONE = "#0a6b2f"
SHOWN = "landmark frames: what the plan goes through, as recorded on other desks"


class Painter:
    """Draws landmarks and latents of a run.

    Args:
        mind: the run.
    """

    def __init__(self, mind: Knowledge) -> None:
        self.mind = mind
        there = (mind.run.path / "decoder.safetensors").is_file()
        self.decoder: Decoder | None = load_decoder(mind.run.path) if there else None

    def decoded(self, z: Float[Tensor, "n D"]) -> UInt8[np.ndarray, "n S S 3"] | None:
        """Return what the decoder draws of latents, by the first camera; None without one."""
        if self.decoder is None or not len(z):
            return None
        with torch.no_grad():
            return np.asarray(self.decoder.pictures(z)[:, 0].numpy())

    def landmarks(self, nodes: Sequence[int]) -> UInt8[np.ndarray, "n S S 3"] | None:
        """Return landmarks' frames; decoded where the frames are not at hand, None where nothing is."""
        found = self.mind.frames(nodes)
        return found if found is not None else self.decoded(self.mind.subgoals.landmarks.z[list(nodes)])

    def imagined(self, z: Float[Tensor, "n D"]) -> tuple[UInt8[np.ndarray, "n S S 3"] | None, str]:
        """Return pictures of imagined latents, and how they were come by."""
        drawn = self.decoded(z)
        if drawn is not None:
            return drawn, "imagined (decoded)"
        if self.mind.stores is None:
            return None, ""
        try:
            memory = cached_latents(self.mind.run, tuple(store.path for store in self.mind.stores))[0]
        except JepaflowError:
            return None, ""
        rows, _ = nearest(memory.z, z)
        cameras = self.mind.run.model.config.cameras[:1]
        return memory.corpus.frames(rows, cameras)[:, 0], "imagined (nearest recorded frame)"


@dataclass(frozen=True, eq=False)
class _Row:
    """Some columns of a strip: pictures above, decoded latents below if there are any."""

    title: str
    heads: list[str]
    frames: list[UInt8[np.ndarray, "S S 3"]]
    below: list[UInt8[np.ndarray, "S S 3"] | None]
    marks: list[str]
    """what becomes done there"""


def draw_strip(path: Path, painter: Painter, story: Story, start: UInt8[np.ndarray, "S S 3"]) -> None:
    """Write the strip of a story's plans as a PNG.

    Args:
        path: of the picture.
        painter: of the run.
        story: with at least one plan.
        start: what the first plan began with.

    Raises:
        JepaflowError: there is nothing to show.
    """
    fresh = [i for i, plan in enumerate(story.plans) if i == 0 or plan.nodes != story.plans[i - 1].nodes][:PLANS]
    rows = [row for i in fresh for row in _rows(painter, story, story.plans[i], i, start)]
    if not rows:
        raise JepaflowError("There is no plan to draw, or no picture of its landmarks is at hand.")
    width = ACROSS * (TILE + GAP)
    parts = [_head(story, painter, width), *(_draw(row, width) for row in rows)]
    sheet = Image.new("RGB", (width + 2 * MARGIN, sum(part.height for part in parts) + 2 * MARGIN), PAPER)
    top = MARGIN
    for part in parts:
        sheet.paste(part, (MARGIN, top))
        top += part.height
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


def _rows(painter: Painter, story: Story, plan: Made, number: int, start: np.ndarray) -> Iterator[_Row]:
    """Cut one plan into rows."""
    frames = painter.landmarks(plan.nodes)
    if frames is None or not plan.nodes:
        return
    shown = painter.mind.stores is not None  # else the frames are decoded latents themselves
    drawn = painter.decoded(painter.mind.subgoals.landmarks.z[plan.nodes]) if shown else None
    began = plan.block * story.block / story.fps
    now = start if number == 0 else (story.frames[plan.block * story.block] if story.frames else None)
    pictures = [*([] if now is None else [now]), *frames]
    first = len(pictures) - len(frames)
    heads = ["now"] * first + [f"sub-goal {i + 1}" for i in range(len(frames))]
    below: list[np.ndarray | None] = [None] * first
    below += list(drawn) if drawn is not None else [None for _ in frames]
    must = story.answer.must if isinstance(story.answer, Request) else ()
    marks = [""] * first + ["; ".join(_short(str(must[j])) for j in done) for done in plan.done]
    ahead = f"about {story.foreseen[number]:.0f} s"
    title = (
        f"Plan {number + 1}, made at {began:.1f} s: {len(frames)} sub-goal{'' if len(frames) == 1 else 's'}, {ahead}"
    )
    for left in range(0, len(pictures), ACROSS):
        part = slice(left, left + ACROSS)
        yield _Row(title if left == 0 else "", heads[part], pictures[part], below[part], marks[part])


def _short(clause: str) -> str:
    """A clause for a narrow column."""
    return clause.removeprefix("put ").removeprefix("push ").replace("the ", "")


def _head(story: Story, painter: Painter, width: int) -> Image.Image:
    what = f"decoded latents of {SHOWN}" if painter.mind.stores is None else SHOWN
    more = "; below, what its latent holds of each (decoder)" if painter.decoder and painter.mind.stores else ""
    lines = wrap(f"Understood: {story.answer}. Shown are {what}{more}.", font(13), width, 3)
    image = Image.new("RGB", (width, 30 + LINE * len(lines)), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((0, 10), elide(f"“{story.sentence}”", font(17, True), width), INK, font(17, True), anchor="lm")
    for number, line in enumerate(lines):
        draw.text((0, 34 + LINE * number), line, FAINT, font(13), anchor="lm")
    return image


def _draw(row: _Row, width: int) -> Image.Image:
    """Paint one row."""
    lower = any(frame is not None for frame in row.below)
    marked = any(row.marks)
    top = (LINE + 6 if row.title else 0) + LINE
    height = top + TILE + (GAP + TILE if lower else 0) + (2 * LINE if marked else 0) + GAP + 4
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    if row.title:
        draw.text((0, LINE // 2 + 2), row.title, INK, font(14, True), anchor="lm")
    for column, (head, frame, below, mark) in enumerate(zip(row.heads, row.frames, row.below, row.marks, strict=True)):
        x = column * (TILE + GAP)
        draw.text((x + TILE // 2, top - LINE // 2), head, INK, font(12), anchor="mm")
        image.paste(Image.fromarray(fit(frame, TILE, TILE)), (x, top))
        if below is not None:
            image.paste(Image.fromarray(fit(below, TILE, TILE)), (x, top + TILE + GAP))
        if mark:
            draw.rectangle((x, top, x + TILE - 1, top + TILE - 1), outline=DONE, width=3)
            floor = top + TILE + (GAP + TILE if lower else 0)
            for number, line in enumerate(wrap(f"done: {mark}", font(11), TILE + GAP, 2)):
                draw.text((x + TILE // 2, floor + LINE // 2 + 2 + 14 * number), line, DONE, font(11), anchor="mm")
    return image


def draw_film(path: Path, painter: Painter, story: Story, env: str, seed: int, words: str) -> None:
    """Write the film of a story: sub-goal, imagined, real; the probabilities of its clauses; what happened.

    Args:
        path: an mp4.
        painter: of the run.
        story: with its frames.
        env: the world's name.
        seed: of the desk.
        words: what the robot says at the end.

    Raises:
        JepaflowError: no frame was kept.
    """
    if not story.frames or not story.imagined:
        raise JepaflowError("There is nothing to film. Nothing was done.")
    length = len(story.frames)
    looks = np.minimum(np.arange(length) // story.block, len(story.imagined) - 1)
    pictures: dict[str, np.ndarray] = {}
    aims = sorted({node for node in story.aimed if node >= 0})
    marks = painter.landmarks(aims)
    if marks is not None and aims:
        place = {node: i for i, node in enumerate(aims)}
        at = [place.get(node, -1) for node in story.aimed]
        first = next(i for i in at if i >= 0)
        for i, one in enumerate(at):
            at[i] = first if one < 0 else one
            first = at[i]
        pictures["sub-goal (recorded frame)" if painter.mind.stores else "sub-goal (decoded)"] = marks[
            np.array(at)[looks]
        ]
    drawn, how = painter.imagined(torch.stack(story.imagined))
    if drawn is not None:
        pictures[how] = drawn[looks]
    pictures["real"] = np.stack(story.frames)
    view = EpisodeView(
        f"{env}, {painter.mind.run.path.name}", seed, length, story.fps, f"“{story.sentence}”. {words}",
        tuple(pictures), _stream(pictures), _traces(story, looks), events=_events(story, length), eventful=True,
    )  # fmt: skip
    with open_film(path) as film:
        film.add(view)


def _stream(pictures: dict[str, np.ndarray]) -> Callable[[str, np.ndarray | None], Iterator[np.ndarray]]:
    def stream(camera: str, numbers: np.ndarray | None) -> Iterator[np.ndarray]:
        yield from pictures[camera] if numbers is None else pictures[camera][numbers]

    return stream


def _traces(story: Story, looks: np.ndarray) -> tuple[Trace, ...]:
    must = story.answer.must if isinstance(story.answer, Request) else ()
    table = np.array(story.chances, float).reshape(len(story.chances), len(must))
    return tuple(Trace(f"P({_short(str(clause))})", table[looks, j], span=(0.0, 1.0)) for j, clause in enumerate(must))


def _events(story: Story, length: int) -> tuple[Shown, ...]:
    found = [Shown(min(event.block * story.block, length - 1), event.words) for event in story.events]
    if story.slipped is not None:
        found.append(Shown(story.slipped, "(a cube slips, on purpose)"))
    return tuple(sorted(found, key=lambda event: event.frame))
