"""Forecast skill on worlds whose exact forecast is known, against a slow double loop, degenerate sizes first."""

import numpy as np
import pytest
import torch
from diagnosis_worlds import CopyLast, LinearWorld, random_world, simulate

from jepaflow.diagnosis.forecast import ForecastErrors, choose_donors, cut_windows, measure_forecast, summarise
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.diagnosis.resample import draw_weights, percentiles, ratio, resample


def linear(hears: float = 1.0, dims: int = 4) -> LinearWorld:
    a, b = random_world(dims)
    return LinearWorld(torch.zeros(1, dims), a, b, hears)


def measured(
    model: LinearWorld | CopyLast, trajectories: list[Trajectory], history: int = 2, horizon: int = 10
) -> ForecastErrors:
    windows = cut_windows(trajectories, history, horizon)
    assert windows is not None
    return measure_forecast(model, windows)


def test_no_episode_long_enough_gives_no_window() -> None:
    a, b = random_world()
    assert cut_windows(simulate(a, b, [2, 1]), history=2, horizon=10) is None


def test_one_episode_with_one_window() -> None:
    """Values exist, intervals and shuffled skill do not: there is nothing to resample and nobody to borrow from."""
    model = linear()
    forecast = summarise([measured(model, simulate(model.a, model.b, [3]))], draws=50)
    assert forecast.skill[0].value == pytest.approx(1)
    assert (forecast.skill[0].n, forecast.skill[0].episodes) == (1, 1)
    assert np.isnan(forecast.skill[0].low)
    assert np.isnan(forecast.skill[1].value) and forecast.skill[1].n == 0
    assert np.isnan(forecast.shuffled[0].value) and forecast.shuffled[0].n == 0
    assert np.isnan(forecast.listening.value)


def test_one_dimension_and_history_of_one() -> None:
    model = linear(dims=1)
    forecast = summarise([measured(model, simulate(model.a, model.b, [4, 4]), history=1)], draws=50)
    assert forecast.skill[0].value == pytest.approx(1)


def test_exact_forecast_scores_one_and_copy_last_exactly_zero() -> None:
    model = linear()
    trajectories = simulate(model.a, model.b, [20, 15, 18, 12])
    exact = summarise([measured(model, trajectories)], draws=200)
    copy = summarise([measured(CopyLast(), trajectories)], draws=200)
    for h in range(10):
        assert exact.skill[h].value == pytest.approx(1, abs=1e-6)
        assert exact.shuffled[h].value < 0.95
        assert exact.gain[h].low > 0
        assert copy.skill[h].value == copy.skill[h].low == copy.skill[h].high == 0
        assert copy.gain[h].value == 0


def test_model_that_ignores_its_actions_gains_nothing_from_them() -> None:
    model = linear(hears=0.0)
    forecast = summarise([measured(model, simulate(model.a, model.b, [20, 15, 18, 12]))], draws=100)
    assert forecast.listening.value == pytest.approx(0, abs=1e-9)
    assert not forecast.listening.low > 0


def slow_skill(model: LinearWorld, trajectories: list[Trajectory], history: int, h: int) -> tuple[float, int]:
    """The definition, window by window."""
    top = bottom = 0.0
    count = 0
    for t in trajectories:
        for now in range(history - 1, len(t.z) - h):
            z = t.z[now]
            for step in range(h):
                z = z @ model.a + model.hears * t.blocks[now + step].sum(0) @ model.b
            top += float(((z - t.z[now + h]).double() ** 2).mean())
            bottom += float(((t.z[now] - t.z[now + h]).double() ** 2).mean())
            count += 1
    return 1 - top / bottom, count


@pytest.mark.parametrize("history", [1, 3])
def test_skill_matches_the_definition(history: int) -> None:
    model = linear(hears=0.6)
    trajectories = simulate(model.a, model.b, [14, 5, 9, 25], noise=0.3)
    forecast = summarise([measured(model, trajectories, history)], draws=20)
    for h in range(1, 11):
        value, count = slow_skill(model, trajectories, history, h)
        assert forecast.skill[h - 1].value == pytest.approx(value, abs=1e-5)
        assert forecast.skill[h - 1].n == count


def test_two_phases_are_one_episode() -> None:
    model = linear()
    first = simulate(model.a, model.b, [12, 12])
    second = [Trajectory(t.episode, 1, t.z[1:], t.blocks[1:]) for t in first]
    errors = measured(model, [*first, *second])
    assert errors.episodes == (0, 1)
    assert errors.count[:, 0].tolist() == [10 + 9, 10 + 9]


def test_donors_are_foreign_and_reach_as_far_as_they_can() -> None:
    rng = np.random.default_rng(0)
    reach = np.array([10, 9, 3, 10, 2, 1, 4])
    episode = np.array([0, 0, 0, 1, 1, 1, 2])
    for _ in range(50):
        donor, usable = choose_donors(reach, episode, rng)
        assert (episode[donor] != episode).all()
        assert (usable <= reach).all() and (usable <= reach[donor]).all()
        assert usable[6] == 4 and usable[0] == 10


def test_padding_beyond_an_episode_is_never_counted() -> None:
    """Poisoned padding: were it used, the skill would not be 1."""
    model = linear()
    windows = cut_windows(simulate(model.a, model.b, [5, 30, 30]), 2, 10)
    assert windows is not None
    steps = torch.arange(1, 11)
    windows.target[steps[None] > windows.reach[:, None]] = 1e6
    forecast = summarise([measure_forecast(model, windows)], draws=20)
    assert all(e.value == pytest.approx(1, abs=1e-6) for e in forecast.skill)


def test_same_seed_same_figures() -> None:
    model = linear(hears=0.7)
    trajectories = simulate(model.a, model.b, [12, 14, 16], noise=0.1)
    assert summarise([measured(model, trajectories)], 100, 3) == summarise([measured(model, trajectories)], 100, 3)


def test_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    """60 episodes with skewed sums: 95 % nominal, at least 88 % met over 200 data sets."""
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        bottom = rng.gamma(2.0, 1.0, (60, 1))
        top = 0.4 * bottom * rng.gamma(4.0, 0.25, (60, 1))
        low, high = percentiles(resample([ratio(top, bottom)], [range(60)], 400, trial)[:, 0])
        hits += low <= 0.4 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_shared_episodes_are_drawn_together() -> None:
    """Three identical seeds on the same episodes say no more than one: the interval must not shrink by sqrt(3)."""
    rng = np.random.default_rng(1)
    top, bottom = rng.gamma(2.0, 1.0, (10, 1)), rng.gamma(20.0, 0.2, (10, 1))
    one = resample([ratio(top, bottom)], [range(10)], 4000, 0)[:, 0].std()
    three = resample([ratio(top, bottom)] * 3, [range(10)] * 3, 4000, 0)[:, 0].std()
    apart = resample([ratio(top, bottom)] * 3, [range(10), range(10, 20), range(20, 30)], 4000, 0)[:, 0].std()
    assert three == pytest.approx(one, rel=0.1)
    assert apart == pytest.approx(one / np.sqrt(3), rel=0.1)


def test_differing_seeds_widen_the_interval() -> None:
    ones = np.ones((8, 1))
    sample = resample([ratio(v * ones, ones) for v in (0.2, 0.5, 0.8)], [range(8)] * 3, 3000, 0)[:, 0]
    low, high = percentiles(sample)
    assert sample.mean() == pytest.approx(0.5, abs=0.02)
    assert low < 0.35 and high > 0.65


def test_weights_are_resamples() -> None:
    weights = draw_weights(np.random.default_rng(0), 7, 100)
    assert weights.shape == (100, 7) and (weights.sum(1) == 7).all()


def test_pooling_seeds_averages_them() -> None:
    good, bad = linear(), linear(hears=0.0)
    trajectories = simulate(good.a, good.b, [12, 14, 16])
    runs = [measured(good, trajectories), measured(bad, trajectories)]
    pooled = summarise(runs, draws=200)
    each = [summarise([run], draws=200).skill[0].value for run in runs]
    assert pooled.skill[0].value == pytest.approx(np.mean(each))
    assert pooled.skill[0].low < min(max(each), 1) and pooled.skill[0].n == 2 * summarise([runs[0]], 10).skill[0].n
