"""From a run to its planner: the limits that its actions keep."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.evaluation.planner import PlannerConfig, run_space
from jepaflow.sims.registry import find_world
from jepaflow.training.checkpoint import Run
from jepaflow.worldmodel.jepa import JEPA
from jepaflow.worldmodel.presets import PRESETS


def run_of(tmp_path: Path, change: bool) -> Run:
    model = JEPA(replace(PRESETS["nano"], image_size=16, action_change=change))
    model.action_scaler.std.copy_(torch.tensor([0.2, 0.4]))
    if change:
        model.change_scaler.std.copy_(torch.tensor([0.01, 0.03]))
    return Run(tmp_path, model, {}, tmp_path / "no.h5", [0], [], 1)


def test_actions_change_no_faster_than_the_data_s_spread_allows(tmp_path: Path) -> None:
    world = find_world("two_room").make(16)
    space = run_space(run_of(tmp_path, True), world, 8.0)
    assert space.rate is not None
    torch.testing.assert_close(space.rate, torch.tensor([0.08, 0.24]))
    for run, rate in ((run_of(tmp_path, False), 8.0), (run_of(tmp_path, True), None)):
        assert run_space(run, world, rate).rate is None  # a model that was not told of changes knows no spread


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_limit_that_lets_nothing_move_is_refused(rate: float) -> None:
    with pytest.raises(JepaflowError, match="lets nothing move"):
        PlannerConfig(rate=rate)
