"""`benchmarks.command`: desks and sentences that the expert can do and nobody else does by chance; intervals that do not vanish."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.command import interval
from benchmarks.commanding import Scripts, Still, draw_trials, run_commands
from jepaflow.common.errors import JepaflowError
from jepaflow.sims.registry import find_world
from jepaflow.subgoals.language.lexicon import literal


def robot(env: str) -> Any:
    """Return what a robot's trials need: its world."""
    return SimpleNamespace(env=env, entry=find_world(env), size=8)


@pytest.mark.parametrize(
    ("env", "clauses"),
    [("so101/place", 1), ("so101/place", 2), ("so101/sort", 0), ("so101/pick_place", 1), ("so101/push", 1)],
)
def test_the_expert_does_what_the_sentence_means_and_standing_still_does_not(env: str, clauses: int) -> None:
    here = robot(env)
    trials = draw_trials(here, 2, 30_000, clauses, "plain", False, None)
    assert all(len(trial.request.must) >= max(1, clauses) for trial in trials)
    if clauses == 1:
        assert [literal(trial.sentence) for trial in trials] == [trial.request.must[0] for trial in trials]
    found = run_commands(here, Scripts(trials), trials, "expert")
    assert found[0].all() and not found[2:].any()
    short = [replace(trial, budget=3) for trial in trials]
    assert not run_commands(here, Still(), short, "still")[0].any()


def test_a_slip_is_survived_by_an_expert_that_looks() -> None:
    here = robot("so101/place")
    trials = draw_trials(here, 2, 30_000, 1, "plain", True, None)
    assert [trial.slip for trial in trials] == [False, True]
    found = run_commands(here, Scripts(trials), trials, "expert")
    assert found[0].all() and found[4].tolist() == [False, True]


def test_a_world_without_cubes_or_places_is_refused() -> None:
    for env in ("so101/lift", "two_room"):
        with pytest.raises(JepaflowError, match="Choose"):
            draw_trials(robot(env), 1, 0, 1, "plain", False, None)


def test_a_ball_is_to_be_touched_and_a_cube_pushed_onto_a_disc() -> None:
    for env, said in (("so101/reach", "reach the green ball"), ("so101/push", "push the red cube onto the green disc")):
        assert [trial.sentence for trial in draw_trials(robot(env), 2, 0, 1, "plain", False, None)] == [said] * 2


def test_the_interval_of_what_always_happens_is_no_point() -> None:
    low, high = interval(np.ones(20))
    assert low < 0.9 and high == pytest.approx(1.0)
    low, high = interval(np.array([0.0, 1.0] * 20))
    assert 0.3 < low < 0.5 < high < 0.7
