"""What the heads are worth on held-out episodes, each figure beside its floors, with intervals over episodes."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import rankdata

from jepaflow.common.errors import JepaflowError
from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row
from jepaflow.training.head_pairs import GoalPairs, distance_pairs, goal_pairs
from jepaflow.training.latents import Latents
from jepaflow.worldmodel.distance import LatentDistance, TemporalDistance
from jepaflow.worldmodel.inverse import InverseDynamics

PAIRS = 4_000
AHEAD = (1, 2, 5, 10, 20)
"""model steps at which errors and "within h" are reported"""
DRAWS = 200
NEGATIVES = 0.3
"""share of pairs of two episodes among those that "within h" is judged on"""


def inverse_figures(head: InverseDynamics, latents: Latents, seed: int = 0) -> list[Row]:
    """Mean squared error of the next block, in z-scores of its training values, by steps to the goal and over all.

    Floors: ``mean`` the mean training answer, ``no_change`` the last executed action held, ``other_goal`` the head with
    the goal of another pair. ``inverse/plan_error`` is over all blocks up to the goal. No rows without long episodes.
    """
    config, rng = head.config, np.random.default_rng([seed, 3])
    rows: list[Row] = []
    everything = np.arange(1, config.reach + 1)
    for name, steps in [("", everything), *((f"@{k}", np.array([k])) for k in AHEAD if k <= config.reach)]:
        try:
            pairs = goal_pairs(latents.corpus, PAIRS, steps, (config.block, config.horizon), True, rng)
        except JepaflowError:  # no held-out episode is that long
            continue
        errors, floors, plan = _inverse_errors(head, latents, pairs, rng)
        episodes = latents.corpus.episode[pairs.row.numpy()]
        what = "goals 1 to " + str(config.reach) if name == "" else f"goals {name[1:]}"
        note = f"z-scored squared error of the next block; {what} model steps ahead, held-out episodes"
        rows.append(_row(f"inverse/error{name}", errors, episodes, "variance", note, floors))
        if name == "":
            rows.append(
                _row("inverse/plan_error", plan, episodes, "variance", "all blocks up to the goal", {"mean": 1.0})
            )
    return rows


@torch.no_grad()
def _inverse_errors(
    head: InverseDynamics, latents: Latents, pairs: GoalPairs, rng: np.random.Generator
) -> tuple[ndarray, dict[str, float], ndarray]:
    """Squared errors of the next block by pair, its floors, and of the plan up to the goal."""
    config, count = head.config, len(pairs.row)
    start = pairs.start if config.needs_start else None
    wanted = head.scaled(pairs.actions, start).view(count, config.horizon, -1)
    z, goal = latents.z[pairs.row], latents.z[pairs.goal]

    def square(answer: torch.Tensor) -> torch.Tensor:
        return (answer.reshape(count, config.horizon, -1) - wanted).square().mean(-1)

    own = square(head(z, goal, pairs.steps, start))
    other = torch.from_numpy(rng.permutation(count))
    assert pairs.start is not None
    held = pairs.start[:, None, None].expand_as(pairs.actions)
    floors = {
        "mean": square(torch.zeros_like(wanted)),
        "no_change": square(head.scaled(held, start)),
        "other_goal": square(head(z, goal[other], pairs.steps, start)),
    }
    inside = (~head.beyond(pairs.steps)).float()
    plan = (own * inside).sum(1) / inside.sum(1)
    return own[:, 0].numpy(), {name: float(value[:, 0].mean()) for name, value in floors.items()}, plan.numpy()


@torch.no_grad()
def distance_figures(
    head: TemporalDistance, baseline: LatentDistance, latents: Latents, block: int, seed: int = 0
) -> list[Row]:
    """Error, rank correlation and "within h model steps" of the distance; floors: latent distance, mean, chance.

    Error and correlation are over pairs of one episode, "within h" also over pairs of two. No rows without episodes.
    """
    rng = np.random.default_rng([seed, 4])
    cap = head.config.cap
    if len(latents.corpus) == 0:
        return []
    pairs = distance_pairs(latents.corpus, PAIRS, cap, block, NEGATIVES, rng)
    a, b = latents.z[torch.from_numpy(pairs.a)], latents.z[torch.from_numpy(pairs.b)]
    own, flat = (each(a, b).numpy().astype(np.float64) for each in (head, baseline))
    true, same = pairs.steps.astype(np.float64), pairs.same == 1
    episodes = latents.corpus.episode[pairs.a]
    note = f"pairs of one held-out episode, 0 to {cap} model steps apart"
    error, plain = np.abs(own - true)[same], float(np.abs(flat - true)[same].mean())
    constant = float(np.abs(true[same] - np.median(true[same])).mean())
    rows = [_row("distance/mae", error, episodes[same], "model steps", note, {"latent": plain, "median": constant})]
    ranks = np.stack([own, flat, true], 1)[same]
    rows.append(_ranked("distance/spearman", ranks, episodes[same], spearman, note, {}))
    for h in (h for h in AHEAD if h < cap):
        near = np.stack([-own, -flat, true <= h], 1)
        if 0 < near[:, 2].sum() < len(near):
            said = f"area under the ROC of 'at most {h} model steps apart', pairs of two episodes count as far"
            rows.append(_ranked(f"distance/auc@{h}", near, episodes, auc, said, {"chance": 0.5}))
    return rows


def spearman(x: Float[ndarray, " n"], y: Float[ndarray, " n"]) -> float:
    """Rank correlation, ties averaged; 0 where one of both is constant."""
    a, b = rankdata(x), rankdata(y)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(((a - a.mean()) * (b - b.mean())).mean() / (a.std() * b.std()))


def auc(score: Float[ndarray, " n"], label: Float[ndarray, " n"] | Bool[ndarray, " n"]) -> float:
    """Area under the ROC curve, ties count half; 0.5 where only one class is present."""
    positive = np.asarray(label, bool)
    count, rest = int(positive.sum()), int((~positive).sum())
    if not count or not rest:
        return 0.5
    return float((rankdata(score)[positive].sum() - count * (count + 1) / 2) / (count * rest))


def _row(name: str, values: ndarray, episodes: ndarray, unit: str, note: str, floors: dict[str, float]) -> Row:
    """The mean of values, with an interval over episodes."""
    low, high = _interval(episodes, lambda chosen: float(values[chosen].mean()))
    return Row(name, float(values.mean()), low, high, len(values), 1, unit, floors, {}, note)


def _ranked(
    name: str,
    columns: Float[ndarray, "n 3"],
    episodes: ndarray,
    statistic: Callable[[ndarray, ndarray], float],
    note: str,
    floors: dict[str, float],
) -> Row:
    """A rank statistic of (head, truth), beside that of (latent distance, truth)."""
    own, flat, true = columns.T
    low, high = _interval(episodes, lambda chosen: statistic(own[chosen], true[chosen]))
    floors = {"latent": statistic(flat, true), **floors}
    return Row(
        name,
        statistic(own, true),
        low,
        high,
        len(own),
        1,
        "correlation" if not floors.get("chance") else "area",
        floors,
        {},
        note,
    )


def _interval(episodes: ndarray, statistic: Callable[[ndarray], float]) -> tuple[float, float]:
    """Bootstrap over whole episodes."""
    numbers = np.unique(episodes).astype(np.float64)
    members = {int(e): np.flatnonzero(episodes == e) for e in numbers}
    return bootstrap(numbers, lambda drawn: statistic(np.concatenate([members[int(e)] for e in drawn])), draws=DRAWS)
