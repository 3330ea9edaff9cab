"""Planning in the background: a robot never waits, whatever the model takes, and never jumps."""

import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.cost import CostConfig
from jepaflow.planning.space import ActionSpace

from .test_controller import Arm, frame

DESK = ActionSpace.from_bounds(
    torch.zeros(2), torch.full((2,), 20.0), rate=torch.full((2,), 0.5), change=torch.full((2,), 0.2)
)
MOVES = SolverConfig(samples=64, elites=8, iterations=4, horizon=4, parameters="displace")
TICK = 0.02
"""Seconds of a control step in these tests."""


class SlowArm(Arm):
    """A perfect arm whose model takes its time (asleep, as a model on another device would be)."""

    def __init__(self, seconds: float, block: int = 4) -> None:
        super().__init__(block=block)
        self.seconds = seconds

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Sleep and imagine."""
        time.sleep(self.seconds)
        return super().rollout(z, past, future)


def live(controller: Controller, ticks: int, start: tuple[float, float]) -> tuple[np.ndarray, list[float]]:
    """Drive in real time; return actions (with the start, ticks + 1) and the seconds that each `act` took."""
    acted, waited = [np.array(start, dtype=np.float32)], []
    due = time.perf_counter()
    for _ in range(ticks):
        shown = tuple(round(10 * float(x)) for x in acted[-1])
        began = time.perf_counter()
        acted.append(controller.act(frame(shown) if controller.looks_next else None)[0])  # type: ignore[arg-type]
        waited.append(time.perf_counter() - began)
        due += TICK
        time.sleep(max(0.0, due - time.perf_counter()))
    return np.stack(acted), waited


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.06])
def test_acting_never_waits_and_gets_there(seconds: float) -> None:
    """A plan takes 4 x `seconds`; a block lasts 80 ms. In step, the slowest would hold the robot up for 240 ms."""
    controller = Controller(
        SlowArm(seconds), DESK, ControllerConfig(MOVES, CostConfig(path=1.0), asynchronous=True, surprise=np.inf)
    )
    controller.reset(frame((80, 40)), start_action=np.array([[5.0, 6.0]]))
    acted, waited = live(controller, 40 if seconds < 0.05 else 72, (5.0, 6.0))
    assert np.median(waited) < 0.005
    assert sorted(waited)[-3] < TICK  # a busy machine may hold up a thread once or twice
    assert np.array_equal(acted[:5], np.tile([5.0, 6.0], (5, 1)))  # nothing is known yet: nothing is done
    assert np.abs(np.diff(acted, axis=0)).max() <= 0.5 + 1e-4
    assert np.abs(acted[-1] - [8.0, 4.0]).max() < (0.8 if seconds < 0.05 else 2.0)  # from 3; few plans are rough plans
    assert controller.plans >= 2
    controller.close()


@pytest.mark.parametrize("seconds", [0.0, 0.03])
def test_plans_begin_where_and_when_they_will_be_executed(seconds: float) -> None:
    """A plan takes no time or two blocks; what was forecast for each block comes true, once the time is known."""
    controller = Controller(SlowArm(seconds), DESK, ControllerConfig(MOVES, asynchronous=True, surprise=np.inf))
    controller.reset(frame((80, 40)), start_action=np.array([[5.0, 6.0]]))
    live(controller, 60, (5.0, 6.0))
    controller.close()
    assert len(controller.forecast_errors) >= 8
    assert np.median(controller.forecast_errors[-6:]) < 0.05**2  # the picture is rounded to tenths
    model = controller.model
    assert isinstance(model, Arm)
    lengths = {z.shape[1] for z, _ in model.seen}
    assert max(lengths) == model.config.history


def test_a_planner_that_never_ends_leaves_the_arm_still_after_its_last_plan() -> None:
    model = SlowArm(0.0)
    controller = Controller(model, DESK, ControllerConfig(MOVES, asynchronous=True))
    controller.reset(frame((200, 200)), start_action=np.array([[5.0, 6.0]]))
    live(controller, 8, (5.0, 6.0))
    model.seconds = 0.2
    acted, waited = live(controller, 32, tuple(controller._last[0].tolist()))
    assert np.abs(np.diff(acted, axis=0)).max() <= 0.5 + 1e-4
    assert np.array_equal(acted[-1], acted[-4])  # four planned blocks are over, the arm stays
    assert sorted(waited)[-3] < TICK
    controller.close()


@pytest.mark.parametrize("parameters", ["full", "hold"])
def test_relative_actions_fall_back_to_the_action_that_does_nothing(parameters: str) -> None:
    box = ActionSpace.from_bounds(-torch.ones(2), torch.ones(2), centre=torch.full((2,), 0.7))
    solver = SolverConfig(samples=16, elites=4, iterations=2, horizon=2, parameters=parameters)  # type: ignore[arg-type]
    model = SlowArm(0.0, block=2)
    controller = Controller(model, box, ControllerConfig(solver, asynchronous=True))
    controller.reset(frame((10, 10)), start_action=np.zeros((1, 2)))
    model.seconds = 10.0 * TICK
    acted, _ = live(controller, 4, (0.0, 0.0))
    assert np.array_equal(acted, np.zeros((5, 2)))
    controller.close()


def test_what_goes_wrong_in_the_background_is_told_by_the_next_act() -> None:
    class Broken(Arm):
        def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
            return torch.full((len(z), future.shape[1], 2), torch.nan)

    controller = Controller(Broken(block=1), DESK, ControllerConfig(MOVES, asynchronous=True))
    controller.reset(frame((80, 40)), start_action=np.array([[5.0, 6.0]]))
    with pytest.raises(JepaflowError, match="NaN"):
        live(controller, 20, (5.0, 6.0))
    controller.reset(frame((80, 40)), start_action=np.array([[5.0, 6.0]]))  # and a new episode begins clean
    controller.act(frame((50, 60)))
    controller.close()


def test_a_new_episode_knows_nothing_of_a_plan_still_being_made() -> None:
    model = SlowArm(0.03)
    controller = Controller(model, DESK, ControllerConfig(MOVES, asynchronous=True))
    firsts = []
    for _ in range(2):
        before = controller.plans
        controller.reset(frame((80, 40)), start_action=np.array([[5.0, 6.0]]))
        model.seen.clear()
        controller.act(frame((50, 60)))
        while controller.plans == before or not controller._background._jobs[0].done():
            time.sleep(0.005)
        z, past = model.seen[0]
        firsts.append((z.tolist(), past.shape[1]))
        controller.act(None)
    assert firsts == [([[[5.0, 6.0]]], 0)] * 2
    controller.close()
    controller.close()  # twice does no harm


def test_frames_that_come_faster_than_they_can_be_encoded_are_left_out() -> None:
    class Dim(Arm):
        encoded = 0

        def encode(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
            self.encoded += 1
            time.sleep(0.1)
            return super().encode(pixels, proprio)

    model = Dim(block=1)
    controller = Controller(model, DESK, ControllerConfig(MOVES, asynchronous=True, deadline=0.0))
    controller.reset(frame((80, 40)), start_action=np.array([[5.0, 6.0]]))
    for _ in range(200):
        controller.act(frame((50, 60)))
    time.sleep(0.5)
    began = time.perf_counter()
    controller.close()
    assert time.perf_counter() - began < 5.0  # what waits is dropped: not 200 x 100 ms
    assert model.encoded < 100


def test_in_step_and_in_the_background_the_same_box_holds() -> None:
    both = []
    for asynchronous in (False, True):
        controller = Controller(
            SlowArm(0.0), DESK, ControllerConfig(MOVES, CostConfig(path=1.0), asynchronous=asynchronous)
        )
        controller.reset(frame((200, 0)), start_action=np.array([[19.0, 1.0]]))
        acted, _ = live(controller, 24, (19.0, 1.0))
        controller.close()
        both.append(acted)
        assert acted.min() >= 0.0
        assert acted.max() <= 20.0
        assert all(np.abs(b - a).max() <= 0.5 + 1e-4 for a, b in pairwise(acted))
    assert np.abs(both[0][-1] - both[1][-1]).max() < 0.6
