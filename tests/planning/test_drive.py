"""Driving: any Gymnasium world with the model's cameras, this package's own and others."""

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.cost import CostConfig
from jepaflow.planning.drive import drive
from jepaflow.planning.goal import Goal
from jepaflow.planning.space import ActionSpace
from jepaflow.sims.two_room import TwoRoomEnv

from .test_solvers import TwoRooms

SOLVER = SolverConfig(samples=48, elites=6, iterations=3, horizon=4, init_std=0.7, parameters="hold")
BOX = ActionSpace.from_bounds(-torch.ones(2), torch.ones(2))


class SeesRed(TwoRooms):
    """Two-Room's true physics with eyes for the red disc."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(block=5, history=3, proprio_dim=0)
        self.device = torch.device("cpu")

    def encode(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Return the disc's centre in world px (B, T, 2)."""
        size = pixels.shape[-2]
        picture = pixels[:, :, 0].float()
        red = (picture[..., 0] - picture[..., 1]).clamp(min=8.0) - 8.0
        centres = (torch.arange(size) + 0.5) * 224.0 / size
        total = red.sum((-1, -2))
        return torch.stack([(red.sum(-2) * centres).sum(-1) / total, (red.sum(-1) * centres).sum(-1) / total], -1)


class Table(gymnasium.Env):
    """A world that is not this package's: a dot on a table, cameras with names of their own, no `still_action`."""

    def __init__(self) -> None:
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
        self.seen: list[np.ndarray] = []

    def _observe(self) -> dict[str, np.ndarray]:
        top = np.zeros((8, 8, 3), dtype=np.uint8)
        top[0, 0, :2] = np.rint(self.place)
        return {"observation.images.top": top, "observation.images.side": np.full_like(top, 7), "state": self.place}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Put the dot down."""
        super().reset(seed=seed)
        self.place = np.array([20.0, 30.0]) if options is None else np.array(options["place"])
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Push it."""
        self.seen.append(action)
        self.place = self.place + action
        near = bool(np.abs(self.place - [26.0, 27.0]).max() < 0.6)
        return self._observe(), float(near), near, False, {}


class Eyes:
    """Known physics of the table through two cameras."""

    def __init__(self, cameras: tuple[str, ...]) -> None:
        self.config = SimpleNamespace(block=2, history=2, proprio_dim=0, cameras=cameras)
        self.device = torch.device("cpu")

    def encode(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Return the dot's place; the second camera must be the second."""
        assert pixels.shape[2] == len(self.config.cameras)
        assert (pixels[:, :, 1:] == 7).all()
        return pixels[:, :, 0, 0, 0, :2].float()

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Add the actions up."""
        return z[:, -1:] + future.sum(2).cumsum(1)


def test_a_world_of_this_package_is_driven_to_its_goal() -> None:
    env = TwoRoomEnv(image_size=64)
    env.reset(seed=1)
    state = env.get_state()
    start, goal_state = state.copy(), state.copy()
    start[:2], goal_state[:2] = (40.0, 150.0), (75.0, 100.0)
    env.set_state(goal_state)
    goal = env.observation()

    class Begins(gymnasium.Wrapper):
        def reset(self, **settings: Any) -> tuple[dict, dict]:
            self.env.reset(**settings)
            env.set_state(start)
            env.set_goal(goal_state)
            return env.observation(), {}

    controller = Controller(SeesRed(), BOX, ControllerConfig(SOLVER, CostConfig(path=1.0)))
    done = drive(Begins(env), controller, goal, 40)
    assert done.terminated
    assert done.rewards[-1] > 0.0
    assert len(done.actions) == len(done.rewards) < 25


def test_another_s_world_with_cameras_of_other_names() -> None:
    cameras = ("observation.images.top", "observation.images.side")
    env = Table()
    env.reset(options={"place": [26.0, 27.0]})
    goal = env._observe()
    controller = Controller(Eyes(cameras), BOX, ControllerConfig(SOLVER, CostConfig(path=1.0)))
    done = drive(env, controller, goal, 30, seed=3)
    assert done.terminated
    assert not done.truncated
    assert np.array_equal(np.stack(env.seen), done.actions)
    by_latent = drive(env, controller, Goal(torch.tensor([[[26.0, 27.0]]])), 30, seed=3)
    assert np.array_equal(by_latent.actions, done.actions)
    renamed = Controller(Eyes(("top", "side")), BOX, ControllerConfig(SOLVER, CostConfig(path=1.0)))
    assert np.array_equal(drive(env, renamed, goal, 30, views=cameras).actions, done.actions)


def test_the_budget_ends_the_drive() -> None:
    cameras = ("observation.images.top",)
    controller = Controller(Eyes(cameras), BOX, ControllerConfig(SOLVER))
    far = Goal(torch.tensor([[[200.0, 200.0]]]))
    done = drive(Table(), controller, far, 3)
    assert done.actions.shape == (3, 2)
    assert not done.terminated
    assert drive(Table(), controller, far, 0).actions.shape == (0, 2)


def test_a_missing_camera_is_named() -> None:
    controller = Controller(Eyes(("observation.images.top", "wrist")), BOX, ControllerConfig(SOLVER))
    with pytest.raises(JepaflowError, match="wrist"):
        drive(Table(), controller, Goal(torch.zeros(1, 1, 2)), 3)
    nameless = Controller(Eyes(("front",)), BOX, ControllerConfig(SOLVER))
    with pytest.raises(JepaflowError, match="front"):
        drive(Table(), nameless, Goal(torch.zeros(1, 1, 2)), 3)


def test_displacements_begin_at_the_given_action_or_the_state() -> None:
    moves = SolverConfig(samples=8, elites=2, iterations=1, horizon=2, parameters="displace")
    box = ActionSpace.from_bounds(-torch.ones(2), torch.ones(2), rate=torch.full((2,), 0.1))
    controller = Controller(Eyes(("observation.images.top",)), box, ControllerConfig(moves))
    far = Goal(torch.tensor([[[200.0, 200.0]]]))
    given = drive(Table(), controller, far, 2, start_action=np.array([-0.5, 0.5]))
    assert np.abs(given.actions[0] - [-0.5, 0.5]).max() <= 0.1 + 1e-6
    from_state = drive(Table(), controller, far, 2)  # the state (20, 30) is outside the box: its corner
    assert np.abs(from_state.actions[0] - [1.0, 1.0]).max() <= 0.1 + 1e-6
