"""How far does imagination carry? Skill to 50 model steps, open loop, against three floors.

The floors: *copy last* (skill 0 by definition), the actions of another episode, and the *mean latent* of the other held-out
episodes. The last is the one that counts far ahead: copy-last's error grows to twice the variance, so a forecast that says the
same of every scene reaches a skill of 0.5 there, and a model that has lost the thread looks good beside copy-last.

Long windows overlap almost wholly, so at most ``LIMIT`` starts are rolled out. They are chosen in equal shares by how far
their episode reaches (in bands of ten steps), or few of them would reach far; where a band has too few, nearer ones take
its share. Near horizons therefore rest on other windows than `forecast.measure_forecast`'s, which takes all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from jepaflow.common.results import Row
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.forecast import Forecast, ForecastErrors, Windows, cut_windows, measure_forecast, summarise
from jepaflow.diagnosis.geometry import first_phases
from jepaflow.diagnosis.latents import Imagines, Trajectory
from jepaflow.diagnosis.resample import Estimate, Statistic, percentiles, ratio, resample

FAR = 50
LIMIT = 300
BAND = 10
REPORTED = (20, 30, 40, 50)
FEWEST = 5
"""episodes below which an interval over episodes says nothing"""


@dataclass(frozen=True)
class Horizon:
    """Skill at ``h = 1 … N`` model steps, ``N`` the farthest that any episode reaches.

    Attributes:
        forecast: skill with the episode's own actions and with another's, open loop.
        mean: skill of the forecast that every frame is the mean latent of the other episodes.
        over_mean: skill minus that skill, on the same windows.
        windows: starts rolled out.
    """

    forecast: Forecast
    mean: tuple[Estimate, ...]
    over_mean: tuple[Estimate, ...]
    windows: int

    @property
    def reach(self) -> int:
        """Farthest horizon."""
        return len(self.mean)

    @property
    def beats_copy_until(self) -> int:
        """Largest ``h`` up to which every skill lies above 0, interval and all, and rests on five episodes (or on all)."""
        return _unbroken(self.forecast.skill)

    @property
    def beats_mean_until(self) -> int:
        """Largest ``h`` up to which every skill lies above the mean latent's, interval and all."""
        return _unbroken(self.over_mean)

    def rows(self, name: str) -> list[Row]:
        """``<name>/skill@20``, ``@30``, ``@40``, ``@50`` and ``<name>/skill_shuffled@…``, as far as episodes reach."""
        rows = []
        for h in [h for h in REPORTED if h <= self.reach]:
            own, other, mean = self.forecast.skill[h - 1], self.forecast.shuffled[h - 1], self.mean[h - 1]
            floors = {"copy_last": 0.0, "mean_latent": mean.value, "shuffled_actions": other.value}
            note = (
                f"1 - MSE/MSE(copy last), open loop {h} model steps ahead, {own.n} windows of {own.episodes} held-out episodes; "
                "95 % interval over episodes"
            )
            rows += as_row(f"{name}/skill@{h}", own, "skill", note, floors)
            rows += as_row(f"{name}/skill_shuffled@{h}", other, "skill", f"future actions of another episode; {note}")
        return rows


def _unbroken(estimates: Sequence[Estimate]) -> int:
    """How many estimates from the first on lie above 0 and rest on enough episodes; without an interval the value decides."""
    enough = min(FEWEST, estimates[0].episodes)
    for h, one in enumerate(estimates):
        bound = one.low if np.isfinite(one.low) else one.value
        if not bound > 0 or one.episodes < enough:
            return h
    return len(estimates)


def measure_horizon(
    model: Imagines,
    trajectories: Sequence[Trajectory],
    history: int,
    horizon: int = FAR,
    limit: int = LIMIT,
    draws: int = 1000,
    seed: int = 0,
) -> Horizon | None:
    """Roll windows of held-out episodes out as far as they reach; None when no episode has one.

    Args:
        model: imagines, in the units of the dataset.
        trajectories: held-out episodes; the first phase of each counts.
        history: real frames that the model sees.
        horizon: model steps, at most.
        limit: most starts.
        draws: resamples of the episodes.
        seed: of the donors of foreign actions and the resampling.
    """
    ones = first_phases(trajectories)
    horizon = min(horizon, max(len(t.z) for t in ones) - history)
    windows = cut_windows(ones, history, horizon) if horizon >= 1 else None
    if windows is None:
        return None
    windows = take_windows(windows, choose_windows(windows.reach.numpy(), limit))
    errors = measure_forecast(model, windows, seed)
    mean = mean_latent_errors(windows, ones, errors.episodes)
    statistic, over = ratio(errors.copy - mean, errors.copy), ratio(mean - errors.model, errors.copy)
    return Horizon(
        forecast=summarise([errors], draws, seed),
        mean=_estimates(statistic, errors, draws, seed),
        over_mean=_estimates(over, errors, draws, seed),
        windows=len(windows.reach),
    )


def choose_windows(reach: Int[ndarray, " W"], limit: int) -> Int[ndarray, " w"]:
    """At most ``limit`` windows in equal shares by bands of how far they reach, evenly spaced within a band."""
    if len(reach) <= limit:
        return np.arange(len(reach))
    band = (reach - 1) // BAND
    chosen: list[ndarray] = []
    left, names = limit, np.unique(band)[::-1]
    for number, name in enumerate(names):
        inside = np.flatnonzero(band == name)
        share = min(len(inside), left // (len(names) - number))
        chosen.append(inside[np.linspace(0, len(inside) - 1, share).round().astype(np.int64)])
        left -= share
    return np.sort(np.concatenate(chosen))


def take_windows(windows: Windows, chosen: Int[ndarray, " w"]) -> Windows:
    """Some of the windows."""
    index = torch.from_numpy(chosen)
    return Windows(**{name: getattr(windows, name)[index] for name in Windows.__dataclass_fields__})


def mean_latent_errors(
    windows: Windows, trajectories: Sequence[Trajectory], episodes: Sequence[int]
) -> Float[ndarray, "E N"]:
    """Sums over windows of the squared error of the mean latent of all *other* episodes; NaN with a single episode."""
    total = {t.episode: t.z.double().sum(0) for t in trajectories}
    count = {t.episode: len(t.z) for t in trajectories}
    everything, number = torch.stack(list(total.values())).sum(0), sum(count.values())
    result = np.full((len(episodes), windows.target.shape[1]), np.nan)
    real = torch.arange(1, windows.target.shape[1] + 1) <= windows.reach[:, None]
    for row, episode in enumerate(episodes):
        others = number - count[episode]
        if others == 0:
            continue
        mean = (everything - total[episode]) / others
        own = windows.episode == episode
        squared = (windows.target[own].double() - mean).square().mean(-1)
        result[row] = torch.where(real[own], squared, 0.0).sum(0).numpy()
    return result


def _estimates(statistic: Statistic, errors: ForecastErrors, draws: int, seed: int) -> tuple[Estimate, ...]:
    values = statistic(np.ones((1, len(errors.episodes))))[0]
    sample = resample([statistic], [errors.episodes], draws, seed)
    result = []
    for h, value in enumerate(values):
        episodes = int((errors.count[:, h] > 0).sum())
        low, high = percentiles(sample[:, h]) if episodes >= 2 else (float("nan"), float("nan"))
        result.append(Estimate(float(value), low, high, int(errors.count[:, h].sum()), episodes))
    return tuple(result)
