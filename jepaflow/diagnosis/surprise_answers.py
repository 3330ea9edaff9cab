"""What pairs of films gave: a curve of z-scores per subject and film, around the judged window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from jepaflow.diagnosis.surprise_films import Film, Take, Violation
from jepaflow.diagnosis.surprise_seer import Seer

LEAD = 3
"""Frames before the judged window that curves show."""
SUBJECTS = ("model", "pixels", "copy_last", "untrained")
STATISTICS = ("max", "mean", "first")


@dataclass(frozen=True)
class Example:
    """A pair to look at: frames and z-scores from ``LEAD`` frames before the judged window to its end."""

    kind: str
    normal: Film
    violated: Film
    z: Float[ndarray, "2 S"]
    edit: int
    """number of the first edited frame among these; may be negative"""


@dataclass
class Answers:
    """What all pairs of one violation gave.

    Attributes:
        kind, what: its name and what a person would see.
        curves: per subject one (2, S) array a pair, normal and violated, S = LEAD + W frames; NaN where there is no forecast.
        dropped: edits of which nothing was to be seen.
        waits: frames between edit and judged window, per pair.
        example: the first pair.
    """

    kind: str
    what: str
    curves: dict[str, list[ndarray]] = field(default_factory=lambda: {name: [] for name in SUBJECTS})
    dropped: int = 0
    waits: list[int] = field(default_factory=list)
    example: Example | None = None

    def __len__(self) -> int:
        return len(self.waits)

    def judged(self, subject: str, statistic: str) -> Float[ndarray, "n 2"]:
        """Return each pair's windows as one number each, normal and violated."""
        windows = np.stack(self.curves[subject])[:, :, LEAD:]
        if statistic == "first":
            first: ndarray = windows[:, :, 0]
            return first
        found: ndarray = windows.max(-1) if statistic == "max" else windows.mean(-1)
        return found


def judge(
    seers: Mapping[str, Seer], take: Take, found: Sequence[Violation], answers: Mapping[str, Answers], window: int
) -> None:
    """Score both films of an episode's violations for every subject."""
    latents = {name: seer.encode(take.film) for name, seer in seers.items()}
    for violation in found:
        answer, frames = answers[violation.kind], range(violation.judged - LEAD, violation.judged + window)
        end = violation.edit + len(violation.film)
        for name, seer in seers.items():
            z = latents[name].clone()
            z[violation.edit : end] = seer.encode(violation.film)
            both = np.stack([seer.judge(latents[name], take, frames), seer.judge(z, take, frames)])
            answer.curves[name].append(both[:, 0])
            if name == "model":
                answer.curves["copy_last"].append(both[:, 1])
        whole = _whole(take, violation)
        answer.curves["pixels"].append(np.stack([_pixels(take.film, frames), _pixels(whole, frames)]))
        answer.waits.append(violation.judged - violation.edit)
        if answer.example is None:
            shown = [f for f in frames if f >= 0]
            scores = answer.curves["model"][-1][:, len(frames) - len(shown) :]
            edit = violation.edit - shown[0]
            answer.example = Example(violation.kind, take.film.part(shown), whole.part(shown), scores, edit)


def _whole(take: Take, violation: Violation) -> Film:
    """The violated film from the episode's start on; behind the judged window it is the normal one again."""
    frames, proprio = take.film.frames.copy(), take.film.proprio.copy()
    span = slice(violation.edit, violation.edit + len(violation.film))
    frames[span], proprio[span] = violation.film.frames, violation.film.proprio
    return Film(frames, proprio)


def _pixels(film: Film, frames: Sequence[int]) -> Float[ndarray, " S"]:
    """Mean absolute difference to the frame before; NaN where there is none."""
    found = np.full(len(frames), np.nan)
    for place, frame in enumerate(frames):
        if frame >= 1:
            found[place] = np.abs(film.frames[frame].astype(np.int16) - film.frames[frame - 1]).mean()
    return found
