"""Calibrating a monitor: what calm differences look like, what failures look like, and from which score on to raise alarm.

Three sets of episodes that share none: *fitting* (calm moments, and failures that were made on purpose), *calibrating*
(calm episodes for the threshold alone), *testing*. Whatever is fitted, the threshold keeps its promise, because the
calibration episodes were not fitted on; a bad fit costs recall and never false alarms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.diagnosis.watched import Watched
from jepaflow.planning.monitor import CLASSES, NAMES, Expectation, Forecasts, Judge
from jepaflow.planning.planner import Dynamics
from jepaflow.planning.surprise import surprise_threshold

AHEAD = 1
"""W: forecasts compared at each look. On tuning episodes 2 and 3 noticed no more slips, and fewer cubes moved by someone."""
TOGETHER = 64
"""Episodes imagined in step."""
RIDGE = 1e-3
"""Added to the covariance, in units of its mean variance."""
WINDOW = 10
"""Control steps after an event in which an alarm is in time, and in which a look shows it."""
MEANING = {
    "slip": "slipped",
    "drop": "slipped",
    "slippery": "slipped",
    "missed": "missed",
    "blocked": "blocked",
    "moved": "moved by someone",
}
"""What an alarm should say of each of `watched.KINDS`."""
ASIDE = 0.2
"""Share of the calm fitting episodes that the network does not learn from: they show what it says of others."""
HIDDEN, EPOCHS, BATCH, RATE, DECAY, DROPOUT = 128, 15, 256, 2e-3, 1e-2, 0.3


@dataclass(frozen=True)
class Imagined:
    """An episode's latents and what had been expected of each look."""

    z: Float[Tensor, "T D"]
    forecasts: Forecasts


def imagine_episodes(
    model: Dynamics, episodes: Sequence[Watched], history: int, ahead: int = AHEAD, other: bool = False
) -> list[Imagined]:
    """Let a model expect each look of each episode, exactly as it would online.

    Args:
        model: imagines.
        episodes: any.
        history: H.
        ahead: W.
        other: take the untrained model's latents.
    """
    found = []
    for begin in range(0, len(episodes), TOGETHER):
        some = episodes[begin : begin + TOGETHER]
        latents = [one.other if other else one.z for one in some]
        looks, expectation = max(len(z) for z in latents), Expectation(model, history, ahead)
        told = []
        for t in range(looks):  # shorter episodes repeat their last look, which nobody reads
            now = torch.stack([z[min(t, len(z) - 1)] for z in latents])
            told.append(expectation.see(now))
            expectation.did(torch.stack([one.blocks[min(t, len(one.blocks) - 1)] for one in some]))
        for i, z in enumerate(latents):
            now = torch.stack([f.now[i] for f in told[: len(z)]])
            found.append(Imagined(z, Forecasts(now, torch.stack([f.before[i] for f in told[: len(z)]]))))
    return found


def without_forecasts(one: Imagined) -> Imagined:
    """The same, nothing having been expected: what a recogniser of latents alone is told."""
    return replace(one, forecasts=replace(one.forecasts, now=torch.full_like(one.forecasts.now, torch.nan)))


def standing_still(one: Imagined) -> Imagined:
    """The same, expected being what was seen last."""
    return replace(one, forecasts=replace(one.forecasts, now=one.forecasts.before[:, None]))


def label_free(calm: Sequence[Imagined]) -> Judge:
    """Fit the score that needs no label: the length of the whitened difference; its threshold is still infinite.

    Raises:
        JepaflowError: there are fewer calm looks than a covariance needs.
    """
    z, now = torch.cat([one.z for one in calm]).double(), torch.cat([one.forecasts.now for one in calm]).double()
    dim = z.shape[1]
    centres, whitens = [], []
    for w in range(now.shape[1]):
        left = (z - now[:, w])[torch.isfinite(now[:, w]).all(1)]
        if 0 < len(left) < 2 * dim:
            raise JepaflowError(f"{len(left)} calm looks cannot show how {dim} numbers vary. Give more episodes.")
        if len(left):
            values, vectors = torch.linalg.eigh(torch.cov(left.T).reshape(dim, dim))
            scale = (values.clamp(min=0.0) + RIDGE * values.mean() + 1e-12).rsqrt()
            centres.append(left.mean(0))
            whitens.append((vectors * scale).T)
        else:
            centres.append(torch.zeros(dim).double())
            whitens.append(torch.eye(dim).double())
    scale = torch.stack([z.mean(0), z.std(0).clamp(min=1e-6)])
    parts = (torch.stack(centres).float(), torch.stack(whitens).float(), scale.float())
    plain = Judge(*parts, layers=None, units=torch.tensor([[0.0, 1.0], [0.0, 1.0]]), threshold=float("inf"))
    return replace(plain, units=_units(plain, calm))


def _units(judge: Judge, calm: Sequence[Imagined]) -> Float[Tensor, "2 2"]:
    """Return mean and spread of the largest raw scores of episodes; (0, 1) where there is none or no spread."""
    highest = torch.stack([judge.raw(one.z, one.forecasts)[0].amax(1) for one in calm], 1)
    middle, spread = highest.mean(1), highest.std(1)
    known = torch.isfinite(middle) & torch.isfinite(spread) & (spread > 0)
    return torch.stack([torch.where(known, middle, 0.0), torch.where(known, spread, 1.0)], 1)


def with_failures(
    judge: Judge,
    calm: Sequence[Imagined],
    eventful: Sequence[Imagined],
    episodes: Sequence[Watched],
    block: int,
    seed: int,
) -> Judge:
    """Teach a judge what failures look like.

    Args:
        judge: a label-free one, fitted on calm episodes.
        calm: calm episodes.
        eventful: episodes in which something happens.
        episodes: the same, with what happens.
        block: K.
        seed: of weights and batches.
    """
    aside = calm[:: round(1 / ASIDE)]
    known = [one for i, one in enumerate(calm) if i % round(1 / ASIDE)] or calm
    features = [judge.features(one.z, one.forecasts) for one in known]
    labels = [torch.zeros(len(one.z), dtype=torch.int64) for one in known]
    for one, episode in zip(eventful, episodes, strict=True):
        label = torch.from_numpy(labelled(episode, block))
        features.append(judge.features(one.z, one.forecasts)[label >= 0])
        labels.append(label[label >= 0])
    taught = replace(judge, layers=_taught(torch.cat(features), torch.cat(labels), seed))
    return replace(taught, units=_units(taught, aside))  # the network's odds on what it has learned from say nothing


def labelled(episode: Watched, block: int) -> Int[np.ndarray, " T"]:
    """What each look shows: 0 calm, 1 + an index of `NAMES`, or -1 where that cannot be said (after an event, just before)."""
    at, label = np.arange(len(episode.z)) * block, np.full(len(episode.z), -1)
    if episode.events:
        label[at < min(step for _, step in episode.events) - WINDOW] = 0
    for kind, step in episode.events:
        label[(at >= step) & (at <= step + WINDOW)] = 1 + NAMES.index(MEANING[kind])
    return label


def _taught(x: Float[Tensor, "n F"], y: Int[Tensor, " n"], seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fit the network; return its layers."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, last = nn.Linear(x.shape[1], HIDDEN), nn.Linear(HIDDEN, CLASSES)
        net = nn.Sequential(nn.Dropout(DROPOUT / 3), first, nn.GELU(), nn.Dropout(DROPOUT), last)
        optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
        for epoch in range(EPOCHS):
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1 - epoch / EPOCHS)
            for rows in torch.randperm(len(x), generator=generator).split(BATCH):  # type: ignore[no-untyped-call]
                loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    return first.weight.detach(), first.bias.detach(), last.weight.detach(), last.bias.detach()


def scores(judge: Judge, episodes: Sequence[Imagined]) -> list[Float[np.ndarray, " _"]]:
    """Return each look's score."""
    return [judge.judge(one.z, one.forecasts)[0].numpy().astype(np.float64) for one in episodes]


def maxima(each: Sequence[Float[np.ndarray, " _"]]) -> Float[np.ndarray, " E"]:
    """Return each episode's largest score; scores that do not exist yet never are."""
    return np.array([np.nan_to_num(one, nan=-np.inf).max() for one in each])


def threshold(calm: Sequence[Float[np.ndarray, " _"]], false_alarms: float) -> float:
    """Return the score that at most this share of calm episodes ever exceeds.

    Raises:
        JepaflowError: too few calm episodes for so small a share.
    """
    needed = int(np.ceil(1.0 / false_alarms)) - 1 if 0.0 < false_alarms < 1.0 else 0
    if not 0.0 < false_alarms < 1.0 or len(calm) < needed:
        raise JepaflowError(
            f"{len(calm)} calm episodes cannot promise {false_alarms:g} false alarms an episode. "
            f"Give --episodes {max(needed, 1)} or more, or a larger --false-alarms below 1."
        )
    return surprise_threshold(maxima(calm), false_alarms)
