"""Trials: floors and ceiling that are known, both success rates, and a planner with perfect knowledge."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from jepaflow.cli.evaluate import CPU_SOLVER
from jepaflow.common.errors import JepaflowError
from jepaflow.common.intervals import wilson
from jepaflow.data.store import Store
from jepaflow.evaluation.outcome import Outcome, pooled
from jepaflow.evaluation.protocol import ProtocolConfig, draw_starts
from jepaflow.evaluation.run import (
    PlannerPolicy,
    RandomPolicy,
    ReplayPolicy,
    already_solved,
    floors_and_ceiling,
    run_trials,
)
from jepaflow.evaluation.trials import held_out_trials
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.cost import CostConfig
from jepaflow.planning.space import ActionSpace
from jepaflow.sims.disc import WORLD, move
from jepaflow.sims.registry import find_world
from jepaflow.sims.two_room_geometry import TwoRoomConfig

ENTRY = find_world("two_room")


def test_wilson_against_the_textbook() -> None:
    """81 of 263: Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert all(
        wilson(n, n)[1] == 1.0 and wilson(0, n)[0] == 0.0 for n in range(1, 300)
    )  # not a rounding error beside it
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_ever_and_at_the_end_are_told_apart() -> None:
    """The goal is 30 px away; 12 steps of 5 px run over it and end 30 px behind it, 6 steps stop on it."""
    start = np.array([[40.0, 150.0, 0.0, 0.0]], dtype=np.float32)
    goal = np.array([[70.0, 150.0, 0.0, 0.0]], dtype=np.float32)
    through = ReplayPolicy(np.tile(np.array([1.0, 0.0], dtype=np.float32), (1, 12, 1)))
    outcome = run_trials(ENTRY, 8, through, start, goal, 12, "test")
    assert (outcome.ever.tolist(), outcome.end.tolist()) == ([True], [False])
    assert outcome.distance[0] == pytest.approx(30.0)
    stops = run_trials(ENTRY, 8, ReplayPolicy(np.ones((1, 6, 1)) * [[[1.0, 0.0]]]), start, goal, 12, "test")
    assert (stops.ever.tolist(), stops.end.tolist(), stops.distance.tolist()) == ([True], [True], [0.0])


def test_success_counts_only_within_the_budget() -> None:
    start = np.array([[40.0, 150.0, 0.0, 0.0]], dtype=np.float32)
    goal = np.array([[75.0, 150.0, 0.0, 0.0]], dtype=np.float32)
    right = ReplayPolicy(np.tile(np.array([1.0, 0.0], dtype=np.float32), (1, 20, 1)))
    assert not run_trials(ENTRY, 8, right, start, goal, 3, "test").ever[0]  # 20 px away
    assert run_trials(ENTRY, 8, right, start, goal, 4, "test").ever[0]  # 15 px away


def test_no_trials_are_refused() -> None:
    with pytest.raises(JepaflowError):
        run_trials(ENTRY, 8, ReplayPolicy(np.zeros((0, 1, 2))), np.zeros((0, 4)), np.zeros((0, 4)), 5, "test")


def test_floors_and_ceiling_are_what_they_must_be(two_room_store: Store) -> None:
    protocol = ProtocolConfig(episodes=60)
    trials = held_out_trials(two_room_store, list(range(8)), "two_room", protocol, already_solved(ENTRY.make(8)))
    floors, ceilings = floors_and_ceiling(ENTRY, trials, protocol.seed, 5)
    assert ceilings["replay"].ever_rate == ceilings["replay"].end_rate == 1.0
    assert ceilings["replay"].distance.max() == 0.0  # bit for bit
    assert floors["still"].ever_rate == 0.0  # solved starts were left out
    assert 0.0 <= floors["random"].ever_rate < 0.5
    again, _ = floors_and_ceiling(ENTRY, trials, protocol.seed, 5)
    assert np.array_equal(again["random"].distance, floors["random"].distance)


def test_random_actions_fill_the_box_and_hold() -> None:
    worlds = [ENTRY.make(8) for _ in range(3)]
    policy = RandomPolicy(worlds[0], seed=0, hold=5)
    actions = np.stack([policy.act(step, worlds) for step in range(500)])
    assert actions.shape == (500, 3, 2)
    assert np.abs(actions).max() <= 1.0
    assert actions.std() == pytest.approx(1 / np.sqrt(3), rel=0.1)
    assert np.array_equal(actions[::5].repeat(5, axis=0), actions)


def test_pooling_adds_trials_up() -> None:
    def outcome(*ever: bool) -> Outcome:
        return Outcome(
            np.array(ever),
            np.zeros(len(ever), dtype=bool),
            np.zeros(len(ever)),
            np.zeros((len(ever), 2, 4)),
            float(len(ever)),
        )

    both = pooled([outcome(True, True, False), outcome(False)])
    assert (len(both), both.ever_rate, both.end_rate) == (4, 0.5, 0.0)
    assert both.seconds_per_plan == pytest.approx((3 * 3 + 1) / 4)
    with pytest.raises(JepaflowError):
        pooled([])


class KnownWorld:
    """Perfect knowledge as a world model: the latent is where the red disc is, the forecast is the true physics."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(block=5, history=3, proprio_dim=0)
        self.device = torch.device("cpu")
        self._world, self._walls = TwoRoomConfig(), TwoRoomConfig().walls()

    def encode(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Return the disc's centre in world px (B, T, 2), from the picture alone."""
        size = pixels.shape[-2]
        picture = pixels[:, :, 0].float()
        red = (picture[..., 0] - picture[..., 1]).clamp(min=8.0) - 8.0
        centres = (torch.arange(size) + 0.5) * WORLD / size
        total = red.sum((-1, -2))
        return torch.stack([(red.sum(-2) * centres).sum(-1) / total, (red.sum(-1) * centres).sum(-1) / total], -1)

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Return true positions after each block."""
        imagined = torch.empty(len(z), future.shape[1], 2)
        for row, (start, plan) in enumerate(zip(z[:, -1].tolist(), future.tolist())):
            here = (start[0], start[1])
            for n, block in enumerate(plan):
                for action in block:
                    here = move(self._world, self._walls, here, (5 * action[0], 5 * action[1]))
                imagined[row, n] = torch.tensor(here)
        return imagined


def test_a_planner_with_perfect_knowledge_solves_the_task_from_pixels(two_room_store: Store) -> None:
    """The loop itself loses nothing: rendering, encoding, history, planning, acting, judging."""
    protocol = ProtocolConfig(episodes=4)
    listed = draw_starts(two_room_store, range(8), protocol, already_solved(ENTRY.make(8)))
    starts, goals = two_room_store.read("state", listed.rows), two_room_store.read("state", listed.goal_rows)
    space = ActionSpace.from_bounds(-torch.ones(2), torch.ones(2))
    settings = ControllerConfig(CPU_SOLVER, CostConfig(path=1.0), execute=2)
    controller = Controller(KnownWorld(), space, settings)
    outcome = run_trials(ENTRY, 64, PlannerPolicy(ENTRY, 64, controller), starts, goals, protocol.budget, "test")
    assert outcome.ever_rate == outcome.end_rate == 1.0
