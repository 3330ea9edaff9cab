"""The receding horizon: what the model is shown and when, checked on physics that are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.cost import CostConfig
from jepaflow.planning.space import ActionSpace

BOX = ActionSpace.from_bounds(-torch.ones(2), torch.ones(2))
SOLVER = SolverConfig(samples=64, elites=8, iterations=8, horizon=3)


class Abacus:
    """Known physics: the latent is the first pixel's red and green, and an action adds itself to them."""

    def __init__(self, block: int = 2, history: int = 3, proprio_dim: int = 0) -> None:
        self.config = SimpleNamespace(block=block, history=history, proprio_dim=proprio_dim)
        self.device = torch.device("cpu")
        self.seen: list[tuple[Tensor, Tensor]] = []

    def encode(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Return latents (B, T, 2)."""
        z = pixels[:, :, 0, 0, 0, :2].float()
        return z if proprio is None else z + proprio

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Return the sums after each block."""
        self.seen.append((z[:1].clone(), past[:1].clone()))
        return z[:, -1:] + future.sum(2).cumsum(1)


def frame(*values: tuple[int, int]) -> np.ndarray:
    """Return pictures (E, 1, 8, 8, 3) whose first pixel holds the given pairs."""
    pictures = np.zeros((len(values), 1, 8, 8, 3), dtype=np.uint8)
    pictures[:, 0, 0, 0, :2] = values
    return pictures


def test_frames_come_once_per_model_step_and_the_history_grows_to_the_model_s() -> None:
    model = Abacus(block=2, history=3)
    controller = Controller(model, BOX, ControllerConfig(SOLVER, execute=1))
    controller.reset(frame((100, 100)))
    actions, looks = [], []
    for step in range(10):
        looks.append(controller.looks_next)
        actions.append(controller.act(frame((step, step)) if controller.looks_next else None))
    assert looks == [True, False] * 5
    assert controller.plans == 5
    z, past = model.seen[-1]
    assert z[0, :, 0].tolist() == [4.0, 6.0, 8.0]  # the frames at control steps 4, 6, 8
    executed = np.stack(actions)[4:8, 0].reshape(2, 2, 2)  # the blocks executed between them
    assert np.allclose(past[0].numpy(), executed)
    sizes = sorted({(z.shape[1], past.shape[1]) for z, past in model.seen})
    assert sizes == [(1, 0), (2, 1), (3, 2)]


def test_a_plan_s_first_blocks_are_executed_in_order_before_the_next_plan() -> None:
    model = Abacus()
    controller = Controller(model, BOX, ControllerConfig(SOLVER, execute=3))
    controller.reset(frame((100, 0)))
    for _ in range(6):
        controller.act(frame((0, 0)))
    assert controller.plans == 1
    controller.act(frame((0, 0)))
    assert controller.plans == 2
    assert model.seen[-1][1].shape[1] == 2  # blocks that were not planned anew are part of the history too


@pytest.mark.parametrize(("history", "block"), [(1, 1), (1, 3), (3, 1)])
def test_degenerate_history_and_block(history: int, block: int) -> None:
    model = Abacus(block=block, history=history)
    controller = Controller(model, BOX, ControllerConfig(SOLVER))
    controller.reset(frame((5, 5)))
    for _ in range(7):
        assert controller.act(frame((1, 1))).shape == (1, 2)
    assert max(z.shape[1] for z, _ in model.seen) == history


def test_it_goes_to_its_goal_and_stays_each_environment_to_its_own() -> None:
    model = Abacus(block=2)
    controller = Controller(model, BOX, ControllerConfig(SOLVER, CostConfig(path=1.0)))
    goals, here = [(12, 18), (20, 5), (10, 10)], np.full((3, 2), 10.0)
    controller.reset(frame(*goals))
    for _ in range(20):
        shown = [(int(x), int(y)) for x, y in np.rint(here)]
        here += controller.act(frame(*shown) if controller.looks_next else None)
    assert np.abs(here - np.array(goals)).max() < 1.5  # the picture is rounded to whole numbers


def test_actions_stay_in_the_box_and_repeat_with_the_seed() -> None:
    def run(seed: int) -> np.ndarray:
        controller = Controller(Abacus(), BOX, ControllerConfig(SOLVER, seed=seed))
        controller.reset(frame((200, 0)))
        return np.stack([controller.act(frame((0, 0))) for _ in range(4)])

    assert np.abs(run(0)).max() <= 1.0
    assert np.array_equal(run(0), run(0))
    assert not np.array_equal(run(0), run(1))


def test_reset_forgets_the_last_episode() -> None:
    controller = Controller(Abacus(), BOX, ControllerConfig(SOLVER))
    runs = []
    for _ in range(2):
        controller.reset(frame((50, 50)))
        runs.append(np.stack([controller.act(frame((0, 0))) for _ in range(5)]))
    assert np.array_equal(*runs)


def test_missing_frames_and_missing_robot_state_are_named() -> None:
    controller = Controller(Abacus(), BOX)
    controller.reset(frame((1, 1)))
    with pytest.raises(JepaflowError, match="needs frames"):
        controller.act(None)
    with pytest.raises(JepaflowError, match="state"):
        Controller(Abacus(proprio_dim=2), BOX).reset(frame((1, 1)))


def test_the_robot_s_state_reaches_the_model() -> None:
    model = Abacus(proprio_dim=2)
    controller = Controller(model, BOX, ControllerConfig(SOLVER))
    controller.reset(frame((1, 1)), np.array([[1.0, 1.0]], dtype=np.float32))
    controller.act(frame((1, 1)), np.array([[0.25, 0.5]], dtype=np.float32))
    assert model.seen[-1][0][0, 0].tolist() == [1.25, 1.5]


@pytest.mark.parametrize("execute", [0, 4])
def test_executing_what_is_not_planned_is_refused(execute: int) -> None:
    with pytest.raises(JepaflowError):
        ControllerConfig(SOLVER, execute=execute)
