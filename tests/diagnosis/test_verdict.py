"""The verdict's thresholds, one line a case."""

import math

import pytest
import torch
from diagnosis_worlds import LinearWorld, random_world, simulate

from jepaflow.diagnosis.forecast import Forecast, cut_windows, measure_forecast, summarise
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.verdict import judge, rank_limit

NAN = float("nan")


def forecast(lows: list[float], listening: float = 0.2, episodes: int = 8) -> Forecast:
    """Skill whose lower bounds are ``lows`` (NaN: not measured), and a lower bound of what the actions are worth."""
    measured = [not math.isnan(low) for low in lows]
    skill = tuple(
        Estimate(low + 0.1, low if episodes > 1 else NAN, low + 0.2, 50 * known, episodes * known)
        for low, known in zip(lows, measured)
    )
    ear = Estimate(listening + 0.1, listening, listening + 0.2, 50, episodes)
    zeros = tuple(0.0 for _ in lows)
    return Forecast(skill, skill, skill, ear, zeros, zeros)


@pytest.mark.parametrize(
    ("lows", "listening", "rank", "sight", "skilful_to"),
    [
        ([0.0] + [0.5] * 9, 0.2, 20.0, "blind", 0),
        ([-0.3] * 10, 0.2, 20.0, "blind", 0),
        ([0.5] * 10, 0.2, 1.9, "collapsed", 0),
        ([0.5] * 10, 0.2, 0.0, "collapsed", 0),
        ([0.5] * 10, 0.2, NAN, "collapsed", 0),
        ([-0.3] * 10, -0.4, 1.0, "collapsed", 0),
        ([0.5] * 10, 0.2, 2.0, "sighted", 10),
        ([0.01] * 10, 0.01, 20.0, "sighted", 10),
        ([0.5] * 3 + [0.0] * 7, 0.2, 20.0, "short-sighted", 3),
        ([0.5, -0.1] + [0.5] * 8, 0.2, 20.0, "short-sighted", 1),
        ([0.5] * 10, 0.0, 20.0, "deaf", 10),
        ([0.5] * 10, -0.4, 20.0, "deaf", 10),
        ([0.5] * 3 + [-0.1] * 7, -0.4, 20.0, "deaf", 3),
        ([-0.3] * 10, -0.4, 20.0, "blind", 0),
        ([0.5] * 6 + [NAN] * 4, 0.2, 20.0, "short-sighted", 6),
        ([0.5] * 4, 0.2, 20.0, "short-sighted", 4),
        ([NAN] * 10, NAN, 20.0, "undecided", 0),
        ([0.5] * 10, NAN, 20.0, "undecided", 10),
    ],
)
def test_thresholds(lows: list[float], listening: float, rank: float, sight: str, skilful_to: int) -> None:
    verdict = judge(forecast(lows, listening), rank, 32, 0.5)
    assert (verdict.sight, verdict.skilful_to) == (sight, skilful_to)
    assert verdict.sentence.endswith(".") and "nan" not in verdict.sentence
    assert "nan" not in " ".join(verdict.reasons)


@pytest.mark.parametrize(
    ("spread", "sight"),
    [(0.5, "sighted"), (0.01, "sighted"), (0.0099, "collapsed"), (0.0, "collapsed"), (NAN, "collapsed")],
)
def test_a_shrunken_cloud_has_collapsed_whatever_its_rank_and_skill(spread: float, sight: str) -> None:
    verdict = judge(forecast([0.5] * 10), 20.0, 32, 0.5, spread)
    assert verdict.sight == sight and "collapse below 0.01" in verdict.reasons[3]


def test_deaf_is_said_even_of_a_short_sighted_model() -> None:
    assert "deaf to actions" in judge(forecast([0.5] * 10, -0.1), 20.0, 32).sentence.lower()
    sentence = judge(forecast([0.5] * 3 + [-1.0] * 7, -0.1), 20.0, 32).sentence
    assert "forecasts 3 model steps ahead" in sentence and "Deaf to actions" in sentence


def test_the_verdict_does_not_depend_on_how_far_it_was_asked_to_look() -> None:
    far = judge(forecast([0.5] * 12 + [-0.1] * 8), 20.0, 32)
    assert far.sight == "sighted" and "12 model steps ahead" in far.sentence
    near = judge(forecast([0.5] * 5), 20.0, 32)
    assert near.sight == "short-sighted" and "asked for 5 steps" in near.sentence
    short = judge(forecast([0.5] * 6 + [NAN] * 4), 20.0, 32)
    assert "no held-out episode is long enough" in short.sentence


def test_a_single_episode_decides_nothing() -> None:
    verdict = judge(forecast([0.5] * 10, episodes=1), 20.0, 32)
    assert verdict.sight == "undecided" and "1 held-out episode" in verdict.sentence


def test_few_episodes_weaken_the_reasons() -> None:
    assert any("only 3 held-out episodes" in r for r in judge(forecast([0.5] * 10, episodes=3), 20.0, 32).reasons)


def test_horizon_is_said_in_seconds_too() -> None:
    assert "10 model steps (5.0 s) ahead" in judge(forecast([0.5] * 10), 20.0, 32, 0.5).sentence


@pytest.mark.parametrize(("dims", "limit"), [(1, 1.0), (2, 1.5), (3, 2.0), (128, 2.0)])
def test_rank_limit_suits_small_latents(dims: int, limit: float) -> None:
    assert rank_limit(dims) == limit


@pytest.mark.parametrize(("hears", "sight"), [(1.0, "sighted"), (0.0, "deaf")])
def test_verdict_of_an_analytic_world(hears: float, sight: str) -> None:
    """The same dynamics forecast with and without an ear for the actions: only one of them can plan."""
    a, b = random_world(dims=6)
    model = LinearWorld(torch.zeros(1, 6), a, 0.2 * b, hears)
    windows = cut_windows(simulate(model.a, model.b, [30] * 8, noise=0.01), history=2, horizon=10)
    assert windows is not None
    found = summarise([measure_forecast(model, windows)], draws=300)
    assert judge(found, 6.0, 6).sight == sight
