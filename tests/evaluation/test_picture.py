"""The picture of the first trials' paths."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jepaflow.evaluation.picture import draw_paths
from jepaflow.evaluation.run import RandomPolicy, run_trials
from jepaflow.sims.registry import find_world


@pytest.mark.parametrize("trials", [1, 7])
def test_one_trial_and_more_than_a_row_are_drawn(tmp_path: Path, trials: int) -> None:
    entry = find_world("two_room")
    starts = np.tile(np.array([60.0, 150.0, 0.0, 0.0], dtype=np.float32), (trials, 1))
    goals = starts + np.array([80.0, -90.0, 0.0, 0.0], dtype=np.float32)
    outcome = run_trials(entry, 8, RandomPolicy(entry.make(8), 0), starts, goals, 5, "test")
    assert outcome.states.shape == (trials, 6, 4)
    draw_paths(tmp_path / "paths.png", entry, outcome, goals)
    picture = np.asarray(Image.open(tmp_path / "paths.png").convert("RGB")).astype(int)
    green = (np.abs(picture - [0x0A, 0x8F, 0x3C]).sum(-1) < 30).sum()
    assert green > 20 * trials  # a cross in every panel
