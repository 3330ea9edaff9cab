"""Forecast skill under the planner's own actions: exact where the model is, fallible where it is not, over trials."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.evaluation.foresight import HORIZON, own_foresight, skill_rows, skill_sentence, summarise_foresight
from jepaflow.evaluation.run import PlannerPolicy, run_trials
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.space import ActionSpace
from jepaflow.sims.disc import WORLD
from jepaflow.sims.registry import find_world

ENTRY = find_world("two_room")
SPEED = 5.0
"""px that an action of 1 moves the disc."""


class Open:
    """A world model that knows everything but the walls; `belief` is what it thinks an action moves, in shares."""

    def __init__(self, belief: float = 1.0) -> None:
        self.config = SimpleNamespace(block=5, history=3, proprio_dim=0)
        self.device, self.belief = torch.device("cpu"), belief

    def encode(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Return the red disc's centre, px."""
        red = (pixels[:, :, 0, ..., 0].float() - pixels[:, :, 0, ..., 1].float()).clamp(min=8.0) - 8.0
        centres = (torch.arange(pixels.shape[-2]) + 0.5) * WORLD / pixels.shape[-2]
        total = red.sum((-1, -2))
        return torch.stack([(red.sum(-2) * centres).sum(-1) / total, (red.sum(-1) * centres).sum(-1) / total], -1)

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Add the moves up."""
        return z[:, -1:] + self.belief * SPEED * future.sum(2).cumsum(1)


def trials(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts in the middle of the left room, goals 20 px away: no wall is met on the way."""
    places = np.stack([np.full(count, 60.0), np.linspace(90, 130, count)], 1)
    starts = np.concatenate([places, np.zeros((count, 2))], 1).astype(np.float32)
    goals = starts.copy()
    goals[:, 0] -= 20.0
    return starts, goals


def acted(belief: float, count: int = 6, budget: int = 40, remember: bool = True) -> tuple[Open, Controller]:
    """Let one random plan after the other be executed: a planner that moves all the time."""
    model, (starts, goals) = Open(belief), trials(count)
    solver = SolverConfig(kind="random", samples=2, horizon=1, init_std=0.3, parameters="hold")
    space = ActionSpace.from_bounds(-torch.ones(2), torch.ones(2))
    controller = Controller(model, space, ControllerConfig(solver, warm_start=False, remember=remember))
    run_trials(ENTRY, 64, PlannerPolicy(ENTRY, 64, controller), starts, goals, budget, "test")
    return model, controller


def test_the_memory_is_what_was_seen_and_executed() -> None:
    z, blocks = acted(1.0)[1].memory
    assert z.shape == (6, 8, 2) and blocks.shape == (6, 8, 5, 2)
    moved = z[:, 1:] - z[:, :-1]
    assert torch.allclose(moved, SPEED * blocks[:, :-1].sum(2), atol=0.5)  # the pictures' precision
    with pytest.raises(JepaflowError, match="remembers nothing"):
        _ = acted(1.0, remember=False)[1].memory


def test_perfect_knowledge_has_skill_one_and_half_knowledge_three_quarters() -> None:
    """A forecast of half of every move errs by half of it: skill 1 - 1/4, at every horizon."""
    for belief, skill in ((1.0, 1.0), (0.5, 0.75), (0.2, 0.36)):
        measured = own_foresight(*acted(belief), "run", *trials(6))
        assert measured is not None
        forecast = summarise_foresight([measured])
        assert forecast is not None and len(forecast.skill) == HORIZON
        for h, estimate in enumerate(forecast.skill, start=1):
            assert estimate.value == pytest.approx(skill, abs=0.03)
            assert estimate.low <= estimate.value <= estimate.high
            assert (estimate.n, estimate.episodes) == (6 * (8 - 2 - h), 6)  # frames 0..7, three of them are history


def test_a_planner_that_moves_nothing_has_no_skill() -> None:
    still = own_foresight(*acted(0.0), "run", *trials(6))  # which sees no use in any action
    assert still is not None and skill_rows([still], "x") == []
    assert "not measured" in skill_sentence(summarise_foresight([still]))


def test_rows_carry_the_floors_and_add_up_the_seeds_of_one_run() -> None:
    first, second = (own_foresight(*acted(b), name, *trials(6)) for b, name in ((1.0, "a"), (0.5, "b")))
    assert first is not None and second is not None
    rows = skill_rows([first, first], "plan/push_25/cem")
    assert [row.name for row in rows] == ["plan/push_25/cem_skill@1", "plan/push_25/cem_skill@5"]
    assert (rows[0].n, rows[0].seeds, rows[0].unit) == (2 * 6 * 5, 1, "skill")
    assert rows[0].floors["copy_last"] == 0.0 and rows[0].floors["shuffled_actions"] < 0.5
    (both, _) = skill_rows([first, second], "x")
    assert both.value == pytest.approx(0.875, abs=0.03) and both.seeds == 2  # the mean over runs
    assert "1.00" in skill_sentence(summarise_foresight([first])) and "5: " in skill_sentence(
        summarise_foresight([first])
    )


def test_trials_too_short_for_a_window_are_said_and_not_made_up() -> None:
    assert own_foresight(*acted(1.0, budget=15), "run", *trials(6)) is None  # three frames, all of them history
    assert skill_rows([], "x") == [] and "not measured" in skill_sentence(summarise_foresight([]))
    one = own_foresight(*acted(1.0, count=1, budget=20), "run", *trials(1))
    assert one is not None
    (row,) = skill_rows([one], "x")  # no window reaches five steps
    assert row.name == "x_skill@1" and (row.low, row.high) == (row.value, row.value) and "no interval" in row.note
