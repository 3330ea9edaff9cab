"""The gate's figures: best of n without bias, the break-even of re-ranking."""

import numpy as np
import pytest

from benchmarks.g6_rows import break_even, of_n, of_n_drawn
from jepaflow.common.errors import JepaflowError


def test_the_best_of_n_from_draws_has_no_bias() -> None:
    """The share of successes put into 1 - (1 - p)^n is too low by several points when there are only four times as many draws."""
    chance = np.array([0.0, 0.02, 0.05, 0.2, 1.0])
    share = np.random.default_rng(0).binomial(64, chance, (20_000, 5)) / 64
    for n in (1, 7, 16):
        drawn = np.array([of_n_drawn(row, n, 64) for row in share.T]).mean(1)
        assert drawn == pytest.approx(of_n(chance, n), abs=0.006)
    assert (of_n(share, 16).mean(0) - of_n(chance, 16))[2] < -0.02


def test_more_plans_than_draws_cannot_be_judged() -> None:
    assert of_n_drawn(np.array([0.0, 0.25]), 4, 4).tolist() == pytest.approx([0.0, 1.0])
    with pytest.raises(JepaflowError, match="Draw more"):
        of_n_drawn(np.array([0.5]), 5, 4)


def test_break_even_is_where_as_many_evaluations_in_all_do_as_well() -> None:
    prior = np.full(3, 0.1)
    goal = float(of_n(prior, 64).mean())
    assert break_even(prior, goal, 4800, 16) == pytest.approx(4800 / 48, rel=0.08)
    assert break_even(prior, float(of_n(prior, 8).mean()), 100, 16) is None
