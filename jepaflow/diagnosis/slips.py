"""How good is a monitor? Recall of each kind of event at a false-alarm rate per episode, delays, names, and beliefs.

An event counts as noticed when an alarm is raised at a look in its window; the first such look gives the delay. A
threshold comes from calm calibration episodes and the false alarms are counted on other calm episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from jepaflow.common.intervals import wilson
from jepaflow.diagnosis.calibration import WINDOW, Imagined, maxima, threshold
from jepaflow.diagnosis.ridge import Linear
from jepaflow.diagnosis.watched import KINDS, Watched
from jepaflow.planning.monitor import NAMES, Judge
from jepaflow.planning.planner import Dynamics

LATE = 30
"""Control steps after an event beyond which an alarm is no answer to it."""

Scores = Sequence[Float[np.ndarray, " _"]]


@dataclass(frozen=True)
class Share:
    """A share with its 95 % Wilson interval."""

    count: int
    n: int

    @property
    def value(self) -> float:
        """Return the share; NaN for none."""
        return self.count / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Return the bounds."""
        return wilson(self.count, self.n)


@dataclass(frozen=True)
class Noticed:
    """Events of one kind."""

    delay: Float[np.ndarray, " n"]
    """control steps from the event to the first alarm; NaN where none came in time"""
    look: tuple[int | None, ...]
    """index of that look"""
    where: tuple[int, ...]
    """index of each event's episode"""

    def within(self, steps: int) -> Share:
        """Return the share of events noticed at most so many control steps later."""
        return Share(int((self.delay <= steps).sum()), len(self.delay))


def noticed(kind: str, episodes: Sequence[Watched], scores: Scores, above: float, block: int) -> Noticed:
    """Find the first alarm after each event of a kind."""
    delays, looks, where = [], [], []
    for index, (episode, score) in enumerate(zip(episodes, scores, strict=True)):
        alarms = np.flatnonzero(np.nan_to_num(score, nan=-np.inf) > above)
        for name, step in episode.events:
            if name == kind:
                late = alarms * block - step
                fit = alarms[(late >= 0) & (late <= LATE)]
                delays.append(float(fit[0] * block - step) if len(fit) else np.nan)
                looks.append(int(fit[0]) if len(fit) else None)
                where.append(index)
    return Noticed(np.array(delays, dtype=np.float64), tuple(looks), tuple(where))


def false_alarms(calm: Scores, above: float) -> Share:
    """Return the share of calm episodes with any alarm."""
    return Share(int((maxima(calm) > above).sum()), len(calm))


@dataclass(frozen=True)
class Measured:
    """One way of raising alarms, at one false-alarm rate."""

    above: float
    false: Share
    noticed: dict[str, Noticed]
    curve: dict[str, Float[np.ndarray, "N 2"]]
    """per kind: false alarms per test episode, share noticed within `WINDOW`, over thresholds"""


def measure(
    calibration: Scores, test: Scores, eventful: Mapping[str, tuple[Sequence[Watched], Scores]], rate: float, block: int
) -> Measured:
    """Set the threshold and measure everything.

    Args:
        calibration: scores of calm episodes that set the threshold.
        test: scores of other calm episodes.
        eventful: per kind of event, episodes with such events and their scores.
        rate: false alarms per calm episode.
        block: K.

    Raises:
        JepaflowError: too few calm episodes.
    """
    above = threshold(calibration, rate)
    found = {kind: noticed(kind, *eventful[kind], above, block) for kind in KINDS if kind in eventful}
    return Measured(above, false_alarms(test, above), found, _curves(test, eventful, block))


def _curves(
    test: Scores, eventful: Mapping[str, tuple[Sequence[Watched], Scores]], block: int
) -> dict[str, Float[np.ndarray, "N 2"]]:
    """Sweep the threshold over the test episodes' own maxima."""
    highest = np.sort(maxima(test))[::-1]
    places = np.unique(np.linspace(0, min(len(highest) - 1, round(0.2 * len(highest))), 26).astype(int))
    curves = {}
    for kind, (episodes, scores) in eventful.items():
        points = []
        for place in places:
            above = float(highest[place])
            recall = noticed(kind, episodes, scores, above, block).within(WINDOW).value
            points.append((float((highest > above).mean()), recall))
        curves[kind] = np.array(points)
    return curves


def names(judge: Judge, found: Noticed, imagined: Sequence[Imagined]) -> tuple[str | None, ...]:
    """Return what the monitor called each event at its first alarm; None where it raised none."""
    said: list[str | None] = []
    for look, where in zip(found.look, found.where, strict=True):
        one = imagined[where]
        said.append(None if look is None else NAMES[judge.judge(one.z, one.forecasts)[1][look]])
    return tuple(said)


# Beliefs --------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def imagined_belief(
    model: Dynamics, held: Linear, kind: str, episodes: Sequence[Watched], history: int, block: int
) -> tuple[Share, Share]:
    """Does the model, imagining from the last look before the loss, still see the cube in the jaws `LATE` steps later?

    Returns:
        the share of losses after which its open-loop imagination, told what is executed, reads "held"; and the same of the
        latents that came. Losses too near an episode's beginning or end are left out.
    """
    dreamt: list[bool] = []
    seen: list[bool] = []
    for episode in episodes:
        for name, step in episode.events:
            now, then = (step - 1) // block, -(-(step + LATE) // block)
            if name != kind or now < 0 or then >= len(episode.z):
                continue
            begin = max(0, now + 1 - history)
            imagined = model.rollout(
                episode.z[None, begin : now + 1], episode.blocks[None, begin:now], episode.blocks[None, now:then]
            )
            dreamt.append(bool(_reads(held, imagined[0, -1:])[0]))
            seen.append(bool(_reads(held, episode.z[then : then + 1])[0]))
    return Share(sum(dreamt), len(dreamt)), Share(sum(seen), len(seen))


def scripted_belief(kind: str, episodes: Sequence[Watched]) -> Float[np.ndarray, " n"]:
    """Return for how many control steps after each loss the script thinks that it holds the cube: until it lets go."""
    told = [episode.believes[step:] == 0 for episode in episodes for name, step in episode.events if name == kind]
    return np.array([float(free.argmax()) if free.any() else float(len(free)) for free in told])


def _reads(held: Linear, z: Float[Tensor, "n D"]) -> Bool[np.ndarray, " n"]:
    return held.read(z.numpy())[:, 0] > 0.5
