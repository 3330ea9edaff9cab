"""The receding horizon: what the model is shown and when, checked on physics that are known."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.cost import CostConfig, GoalCost, KeepOut, WeightedSum
from jepaflow.planning.goal import Goal
from jepaflow.planning.planner import Situation
from jepaflow.planning.space import ActionSpace
from jepaflow.planning.surprise import surprise_threshold

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


@pytest.mark.parametrize(("context", "expected"), [(1, 1), (2, 2), (9, 4), (None, 4)])
def test_context_limits_what_plans_begin_with(context: int | None, expected: int) -> None:
    model = Abacus(block=1, history=4)
    controller = Controller(model, BOX, ControllerConfig(SOLVER, context=context))
    controller.reset(frame((3, 3)))
    for _ in range(6):
        controller.act(frame((1, 1)))
    assert (model.seen[-1][0].shape[1], model.seen[-1][1].shape[1]) == (expected, expected - 1)


def test_no_context_is_refused() -> None:
    with pytest.raises(JepaflowError, match="context is 0"):
        ControllerConfig(context=0)


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


class Arm(Abacus):
    """Absolute targets: the latent is where the arm was sent last, read off the first pixel in tenths."""

    def encode(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Return latents (B, T, 2)."""
        return pixels[:, :, 0, 0, 0, :2].float() / 10.0

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Return the targets at the end of each block."""
        self.seen.append((z[:1].clone(), past[:1].clone()))
        return future[:, :, -1]


DESK = ActionSpace.from_bounds(torch.zeros(2), torch.full((2,), 20.0), rate=torch.full((2,), 0.5))
MOVES = SolverConfig(samples=128, elites=12, iterations=10, horizon=3, parameters="displace")


def drive_arm(controller: Controller, steps: int, start: tuple[float, float]) -> np.ndarray:
    """Drive a perfect arm; return the actions (steps, 2)."""
    acted, here = [], np.array(start)
    for _ in range(steps):
        shown = tuple(round(10 * x) for x in here)
        here = controller.act(frame(shown) if controller.looks_next else None)[0]  # type: ignore[arg-type]
        acted.append(here)
    return np.stack(acted)


def test_displacements_begin_at_the_action_in_force() -> None:
    controller = Controller(Arm(block=4), DESK, ControllerConfig(MOVES, CostConfig(path=1.0)))
    controller.reset(frame((80, 40)), start_action=np.array([[5.0, 6.0]]))
    acted = np.concatenate([[[5.0, 6.0]], drive_arm(controller, 24, (5.0, 6.0))])
    assert np.abs(np.diff(acted, axis=0)).max() <= 0.5 + 1e-5
    assert np.abs(acted[8:] - [8.0, 4.0]).max() < 0.4  # 3 away at 0.5 a step: there after 6 steps, and it stays


def test_without_a_start_action_the_robot_s_state_is_it_or_it_is_asked_for() -> None:
    def begin(proprio: np.ndarray | None) -> np.ndarray:
        controller = Controller(Arm(block=4), DESK, ControllerConfig(MOVES))
        controller.reset(frame((80, 40)))
        return controller.act(frame((50, 60)), proprio)

    assert np.abs(begin(np.array([[5.0, 6.0]], dtype=np.float32)) - [5.0, 6.0]).max() <= 0.5 + 1e-5
    for proprio in (None, np.zeros((1, 3), dtype=np.float32)):
        with pytest.raises(JepaflowError, match="start_action"):
            begin(proprio)


@pytest.mark.parametrize("start", [np.array([[np.nan, 0.0]]), np.zeros((1, 3))])
def test_start_actions_that_cannot_be_are_refused(start: np.ndarray) -> None:
    controller = Controller(Arm(block=4), DESK, ControllerConfig(MOVES))
    with pytest.raises(JepaflowError, match="start action"):
        controller.reset(frame((80, 40)), start_action=start)


@pytest.mark.parametrize("parameters", ["full", "hold", "displace", "knots"])
@pytest.mark.parametrize("kind", ["cem", "icem"])
def test_each_parameterisation_is_driven_with_within_bounds_and_rates(kind: str, parameters: str) -> None:
    solver = SolverConfig(kind, samples=48, elites=6, iterations=4, horizon=3, parameters=parameters)  # type: ignore[arg-type]
    controller = Controller(Arm(block=4), DESK, ControllerConfig(solver, CostConfig(path=1.0), execute=2))
    controller.reset(frame((80, 190)), start_action=np.array([[5.0, 25.0]]))  # begins outside its bounds
    acted = np.concatenate([[[5.0, 20.0]], drive_arm(controller, 40, (5.0, 20.0))])
    assert np.abs(np.diff(acted, axis=0)).max() <= 0.5 + 1e-5
    assert acted.max() <= 20.0
    # Where a target is followed at the rate alone, searching targets is a blunt tool; displacements are not.
    assert np.abs(acted[-1] - [8.0, 19.0]).max() < (0.5 if parameters in ("displace", "knots") else 2.0)


def test_the_next_search_begins_with_the_rest_of_the_plan() -> None:
    """One sample, one iteration: the plan is where the search began."""
    lazy = SolverConfig(samples=1, elites=1, iterations=1, horizon=3, parameters="displace")
    for executed in (1, 2):
        controller = Controller(Arm(block=2), DESK, ControllerConfig(lazy, execute=executed))
        controller.reset(frame((80, 40)), start_action=np.array([[5.0, 5.0]]))
        controller._thinker._warm = (
            torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, 1, 2),
            torch.zeros(1, 0, 3, 1, 2),
            0,
        )
        acted = drive_arm(controller, 8, (5.0, 5.0))[:, 0]
        assert acted.tolist() == pytest.approx([5.1, 5.2, 5.4, 5.6, 5.9, 6.2, 6.2, 6.2])  # unknown blocks stay put


def test_warm_starts_can_be_turned_off() -> None:
    lazy = SolverConfig(samples=1, elites=1, iterations=1, horizon=2, parameters="displace")
    controller = Controller(Arm(block=2), DESK, ControllerConfig(lazy, warm_start=False))
    controller.reset(frame((80, 40)), start_action=np.array([[5.0, 5.0]]))
    drive_arm(controller, 4, (5.0, 5.0))
    assert controller._thinker._warm is None


def test_a_surprise_drops_what_is_left_of_the_plan() -> None:
    settings = ControllerConfig(MOVES, execute=3, surprise=0.05)
    controller = Controller(Arm(block=2), DESK, settings)
    controller.reset(frame((80, 40)), start_action=np.array([[5.0, 5.0]]))
    drive_arm(controller, 2, (5.0, 5.0))
    calm = controller._last[0].tolist()
    controller.act(frame(tuple(round(10 * x) for x in calm)))  # type: ignore[arg-type]
    assert controller.plans == 1
    controller.act(None)
    controller.act(frame((200, 0)))  # the arm was carried away
    assert controller.plans == 2
    assert [bool(error[0] > 0.05) for error in controller.forecast_errors] == [False, True]


def test_without_a_threshold_nothing_is_compared() -> None:
    controller = Controller(Arm(block=2), DESK, ControllerConfig(MOVES, execute=3))
    controller.reset(frame((80, 40)), start_action=np.array([[5.0, 5.0]]))
    drive_arm(controller, 2, (5.0, 5.0))
    controller.act(frame((200, 0)))
    assert controller.plans == 1
    assert controller.forecast_errors == []


def test_the_threshold_keeps_its_share_of_false_alarms() -> None:
    """Split conformal: at most 10 % of new calm blocks exceed it on average, over many calibrations of 50."""
    rng = np.random.default_rng(0)
    alarms = [
        (rng.exponential(size=200) > surprise_threshold(rng.exponential(size=50), 0.1)).mean() for _ in range(400)
    ]
    assert 0.085 < np.mean(alarms) < 0.1
    assert surprise_threshold(np.arange(1.0, 10.0), 0.1) == 9.0
    with pytest.raises(JepaflowError, match="more errors"):
        surprise_threshold(np.arange(8.0), 0.1)


def test_a_deadline_is_kept_from_the_frame_on() -> None:
    class Slow(Abacus):
        def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
            time.sleep(0.02)
            return super().rollout(z, past, future)

    solver = SolverConfig(samples=16, elites=4, iterations=100, horizon=3)
    controller = Controller(Slow(), BOX, ControllerConfig(solver, deadline=0.1))
    controller.reset(frame((5, 5)))
    began = time.perf_counter()
    controller.act(frame((1, 1)))
    assert 0.04 < time.perf_counter() - began < 0.25
    at_once = Controller(Slow(), BOX, ControllerConfig(solver, deadline=0.0))
    at_once.reset(frame((5, 5)))
    assert np.array_equal(
        at_once.act(frame((1, 1))), np.zeros((1, 2))
    )  # the centre: legal, and nothing better is known


@pytest.mark.parametrize("settings", [{"deadline": -0.1}, {"surprise": float("nan")}])
def test_settings_that_mean_nothing_are_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError):
        ControllerConfig(SOLVER, **settings)


def test_goals_of_several_pictures_keep_out_and_a_prior() -> None:
    model = Abacus(block=2)
    prior = []

    def proposer(situation: Situation) -> Tensor:
        prior.append(situation)
        return torch.full((1, 2, 3, 2, 2), 0.5)

    cost = WeightedSum([(1.0, GoalCost()), (1.0, KeepOut(torch.tensor([[90.0, 90.0]]), 1.0))])
    controller = Controller(model, BOX, ControllerConfig(SOLVER), cost, proposer)
    pictures = controller.encode(frame((12, 12), (14, 14)))
    controller.reset(Goal(pictures[None]))
    assert controller.act(frame((10, 10))).min() > 0.0
    assert len(prior) == 1
    assert prior[0].z.tolist() == [[[10.0, 10.0]]]


@pytest.mark.parametrize("parameters", ["full", "displace"])
def test_a_dream_is_what_happens_where_the_model_is_right(parameters: str) -> None:
    model = Abacus(block=2, history=3)
    solver = SolverConfig(samples=64, elites=8, iterations=4, horizon=3, parameters=parameters)
    config = ControllerConfig(solver, execute=3, warm_start=False)
    start, goal = np.zeros((1, 2), dtype=np.float32), frame((12, 3))
    controller = Controller(model, BOX, config)
    controller.reset(goal, start_action=start)
    dreamt = controller.dream(frame((20, 10)), None, 7)[0].numpy()
    assert dreamt.shape == (7, 2)
    assert model.seen[-1][0].shape[1] == 3 and model.seen[-1][1].shape[1] == 2  # the imagined history is limited too
    controller.reset(goal, start_action=start)
    z, really = torch.tensor([[[20.0, 10.0]]]), []
    model.encode = lambda pixels, proprio=None: z  # the frames of a world that is as the model says
    for _ in range(7):
        for _ in range(2):
            z = z + torch.from_numpy(controller.act(frame((0, 0))))
        really.append(z[0, 0].numpy())
    assert np.allclose(dreamt, really, atol=1e-5)
    assert not np.allclose(dreamt[0], dreamt[-1])
