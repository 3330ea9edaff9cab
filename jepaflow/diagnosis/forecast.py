"""Can the model foretell? Skill against the forecast that nothing changes.

``skill(h) = 1 - MSE(forecast) / MSE(copy last)`` for ``h`` model steps ahead, open loop from ``H`` real frames. 1 is
a perfect forecast, 0 is no better than repeating the last frame, below 0 is worse. Dividing by copy-last is what
makes the figure honest: a latent that hardly moves has a tiny error and no skill.

Design decisions:

- *Ratio of sums* over windows, not a mean of ratios: a window in which nothing moves must not divide by zero.
- A window enters skill(h) when its episode reaches ``h`` steps ahead, so far horizons rest on fewer windows; ``n``
  says how many.
- *Shuffled actions*: the model gets the whole future action sequence of a window of another episode, and keeps its
  own real history. A planner chooses future actions only, so this asks exactly what planning needs to know: do the
  imagined futures depend on the plan? Donors are at least as long as the window that they serve.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from jepaflow.common.console import progress
from jepaflow.diagnosis.latents import Imagines, Trajectory, device_of
from jepaflow.diagnosis.resample import Estimate, Statistic, percentiles, ratio, resample

HORIZON = 10
ROLLOUT_BATCH = 256


@dataclass(frozen=True)
class Windows:
    """All windows of some trajectories, padded with zeros beyond their episode's end.

    Attributes:
        history: real latents up to now.
        past: blocks inside the history.
        future: blocks from now on.
        target: real latents from now on.
        reach: how many of the ``N`` future steps are real, 1 … ``N``.
        episode: store index of the episode.
    """

    history: Float[Tensor, "W H D"]
    past: Float[Tensor, "W G K A"]
    future: Float[Tensor, "W N K A"]
    target: Float[Tensor, "W N D"]
    reach: Int[Tensor, " W"]
    episode: Int[Tensor, " W"]


@dataclass(frozen=True)
class ForecastErrors:
    """Sums of squared errors (mean over ``D``) by episode and horizon; column ``h - 1`` is ``h`` steps ahead.

    The ``paired`` sums run over the windows that found a donor of actions: there model and shuffled are compared on
    the same windows.
    """

    episodes: tuple[int, ...]
    model: Float[ndarray, "E N"]
    copy: Float[ndarray, "E N"]
    count: Float[ndarray, "E N"]
    shuffled: Float[ndarray, "E N"]
    paired_model: Float[ndarray, "E N"]
    paired_copy: Float[ndarray, "E N"]
    paired_count: Float[ndarray, "E N"]


def cut_windows(trajectories: Sequence[Trajectory], history: int, horizon: int) -> Windows | None:
    """Every window with ``history`` real frames and at least one real step ahead; None when there is none."""
    parts: dict[str, list[Tensor]] = {k: [] for k in ("history", "past", "future", "target", "reach", "episode")}
    for trajectory in trajectories:
        z, blocks = trajectory.z, trajectory.blocks
        frames = z.shape[0]
        padded_z = torch.cat([z, z.new_zeros(horizon, z.shape[1])])
        padded_blocks = torch.cat([blocks, blocks.new_zeros(horizon, *blocks.shape[1:])])
        for now in range(history - 1, frames - 1):
            first = now - history + 1
            parts["history"].append(z[first : now + 1])
            parts["past"].append(blocks[first:now])
            parts["future"].append(padded_blocks[now : now + horizon])
            parts["target"].append(padded_z[now + 1 : now + 1 + horizon])
            parts["reach"].append(torch.tensor(min(horizon, frames - 1 - now)))
            parts["episode"].append(torch.tensor(trajectory.episode))
    if not parts["reach"]:
        return None
    stacked = {key: torch.stack(value) for key, value in parts.items()}
    return Windows(**stacked)


def choose_donors(
    reach: Int[ndarray, " W"], episode: Int[ndarray, " W"], rng: np.random.Generator
) -> tuple[Int[ndarray, " W"], Int[ndarray, " W"]]:
    """For each window a random window of another episode that reaches at least as far.

    Returns:
        The donor of each window, and how many steps of its actions are real for that window (0: no other episode).
        Where no other episode reaches as far, the donor is one of those that reach farthest.
    """
    donor = np.zeros(len(reach), dtype=np.int64)
    usable = np.zeros(len(reach), dtype=np.int64)
    for one in np.unique(episode):
        foreign = np.flatnonzero(episode != one)
        if len(foreign) == 0:
            continue
        for window in np.flatnonzero(episode == one):
            wanted = min(int(reach[window]), int(reach[foreign].max()))
            donor[window] = rng.choice(foreign[reach[foreign] >= wanted])
            usable[window] = wanted
    return donor, usable


def measure_forecast(model: Imagines, windows: Windows, seed: int = 0) -> ForecastErrors:
    """Roll every window out, with its own actions and with another episode's, and sum the errors by episode."""
    reach, episode = windows.reach.numpy(), windows.episode.numpy()
    donor, usable = choose_donors(reach, episode, np.random.default_rng(seed))
    horizon, count = windows.target.shape[1], len(reach)
    errors = {key: np.zeros((count, horizon)) for key in ("model", "shuffled", "copy")}
    device = device_of(model)
    with torch.inference_mode(), progress("forecast", count) as advance:
        for begin in range(0, count, ROLLOUT_BATCH):
            part = slice(begin, begin + ROLLOUT_BATCH)
            history, past, target = windows.history[part], windows.past[part], windows.target[part]
            errors["copy"][part] = _squared(history[:, -1:], target)
            plans = {"model": windows.future[part], "shuffled": windows.future[torch.from_numpy(donor[part])]}
            for key, plan in plans.items():
                imagined = model.rollout(history.to(device), past.to(device), plan.to(device))
                errors[key][part] = _squared(imagined.float().cpu(), target)
            advance(len(history))
    steps = np.arange(1, horizon + 1)
    return _sum_by_episode(errors, steps <= reach[:, None], steps <= usable[:, None], episode)


def _squared(forecast: Tensor, target: Tensor) -> ndarray:
    errors: ndarray = (forecast.double() - target.double()).square().mean(-1).numpy()
    return errors


def _sum_by_episode(errors: dict[str, ndarray], real: ndarray, paired: ndarray, episode: ndarray) -> ForecastErrors:
    names, row = np.unique(episode, return_inverse=True)

    def total(values: ndarray, mask: ndarray) -> ndarray:
        result = np.zeros((len(names), values.shape[1]))
        np.add.at(result, row, np.where(mask, values, 0.0))
        return result

    ones = np.ones_like(errors["model"])
    return ForecastErrors(
        episodes=tuple(int(e) for e in names),
        model=total(errors["model"], real),
        copy=total(errors["copy"], real),
        count=total(ones, real),
        shuffled=total(errors["shuffled"], paired),
        paired_model=total(errors["model"], paired),
        paired_copy=total(errors["copy"], paired),
        paired_count=total(ones, paired),
    )


@dataclass(frozen=True)
class Forecast:
    """Skill at ``h = 1 … N`` with its own actions and with shuffled ones, and what the right actions are worth.

    ``gain[h-1]`` is skill minus shuffled skill; ``listening`` its mean over the horizons measured.
    """

    skill: tuple[Estimate, ...]
    shuffled: tuple[Estimate, ...]
    gain: tuple[Estimate, ...]
    listening: Estimate
    mse: tuple[float, ...]
    mse_copy: tuple[float, ...]


def summarise(runs: Sequence[ForecastErrors], draws: int = 2000, seed: int = 0) -> Forecast:
    """Pool one run or several seeds into estimates: value = mean over seeds, interval from :mod:`resample`."""
    episodes = [run.episodes for run in runs]
    skill = [_one_minus(ratio(run.model, run.copy)) for run in runs]
    shuffled = [_one_minus(ratio(run.shuffled, run.paired_copy)) for run in runs]
    gain = [ratio(run.shuffled - run.paired_model, run.paired_copy) for run in runs]
    counts = [run.count for run in runs]
    paired = [run.paired_count for run in runs]

    def estimate(statistics: Sequence[Statistic], weight: Sequence[ndarray]) -> tuple[Estimate, ...]:
        values = np.mean([s(np.ones((1, len(e))))[0] for s, e in zip(statistics, episodes)], axis=0)
        sample = resample(statistics, episodes, draws, seed)
        return tuple(_estimate(values[h], sample[:, h], [w[:, h] for w in weight]) for h in range(len(values)))

    mean_gain = [_mean_over_horizons(g) for g in gain]
    listening = estimate(mean_gain, [w[:, :1] for w in paired])[0]
    windows = sum(c.sum(0) for c in counts)
    return Forecast(
        skill=estimate(skill, counts),
        shuffled=estimate(shuffled, paired),
        gain=estimate(gain, paired),
        listening=listening,
        mse=_means(sum(run.model.sum(0) for run in runs), windows),
        mse_copy=_means(sum(run.copy.sum(0) for run in runs), windows),
    )


def _means(total: ndarray | int, count: ndarray | int) -> tuple[float, ...]:
    """Means over windows; NaN at horizons that no window reaches."""
    quotient = np.divide(total, count, out=np.full(np.shape(count), np.nan), where=np.asarray(count) > 0)
    return tuple(float(x) for x in quotient)


def _estimate(value: float, sample: ndarray, counts: Sequence[ndarray]) -> Estimate:
    """An estimate whose interval is NaN where any seed has fewer than two episodes to resample."""
    episodes = min(int((count > 0).sum()) for count in counts)
    low, high = percentiles(sample) if episodes >= 2 else (float("nan"), float("nan"))
    return Estimate(float(value), low, high, int(sum(count.sum() for count in counts)), episodes)


def _one_minus(statistic: Statistic) -> Statistic:
    return lambda weights: 1 - statistic(weights)


def _mean_over_horizons(statistic: Statistic) -> Statistic:
    def mean(weights: ndarray) -> ndarray:
        values = statistic(weights)
        known = np.isfinite(values)
        total = np.where(known, values, 0.0).sum(1, keepdims=True)
        count = known.sum(1, keepdims=True)
        average: ndarray = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return average

    return mean
