"""Costs against numbers worked out by hand, and what a plan makes of them."""

import pytest
import torch
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.cost import (
    CostConfig,
    Effort,
    GoalCost,
    KeepOut,
    LimitBarrier,
    WeightedError,
    WeightedSum,
    make_cost,
)
from jepaflow.planning.goal import Goal, Probe
from jepaflow.planning.planner import Planner

from .conftest import BOX, LinearWorld, generator, situation, solve

IMAGINED = torch.tensor([[[0.0, 0.0], [1.0, 3.0]]])
ACTIONS = torch.zeros(1, 2, 1, 2)
MINE = torch.zeros(1, dtype=torch.long)


def goal(*latents: list[float]) -> Goal:
    """Return one environment's goal latents."""
    return Goal(torch.tensor([latents]))


def test_goal_costs_by_hand() -> None:
    here = goal([1.0, 1.0])
    assert GoalCost()(IMAGINED, ACTIONS, here, MINE).tolist() == [2.0]  # (0 + 4) / 2
    assert GoalCost(CostConfig(path=0.5))(IMAGINED, ACTIONS, here, MINE).tolist() == [2.0 + 0.5 * (1.0 + 2.0) / 2]
    with pytest.raises(JepaflowError, match="path"):
        CostConfig(path=-0.1)
    with pytest.raises(JepaflowError, match="effort"):
        CostConfig(effort=float("nan"))


def test_each_row_has_its_own_environment_s_goal() -> None:
    both = Goal(torch.tensor([[[0.0, 0.0]], [[1.0, 3.0]]]))
    owner = torch.tensor([1, 0, 1])
    assert GoalCost()(IMAGINED.expand(3, -1, -1), ACTIONS.expand(3, -1, -1, -1), both, owner).tolist() == [
        0.0,
        5.0,
        0.0,
    ]


def test_several_goal_pictures_mean_all_or_any_of_them() -> None:
    pictures = torch.tensor([[[1.0, 3.0], [1.0, 1.0]]])
    assert GoalCost()(IMAGINED, ACTIONS, Goal(pictures), MINE).tolist() == [1.0]  # (0 + 2) / 2
    assert GoalCost()(IMAGINED, ACTIONS, Goal(pictures, "nearest"), MINE).tolist() == [0.0]


def test_weights_and_probe_matrices_choose_what_matters() -> None:
    """A goal that differs in the first dimension alone (an arm's pose, say) costs nothing to a probe of the second."""
    here = goal([100.0, 1.0])
    only_second = WeightedError(torch.tensor([0.0, 1.0]))
    assert GoalCost(distance=only_second)(IMAGINED, ACTIONS, here, MINE).tolist() == [4.0]
    probe = WeightedError(torch.tensor([[0.0, 0.5]]))
    assert GoalCost(distance=probe)(IMAGINED, ACTIONS, here, MINE).tolist() == [1.0]
    uneven = WeightedError(torch.tensor([1.0, 3.0]))
    assert GoalCost(distance=uneven)(IMAGINED, ACTIONS, goal([0.0, 1.0]), MINE).tolist() == [(1.0 + 3.0 * 4.0) / 4.0]


def test_a_learned_distance_takes_the_error_s_place() -> None:
    def steps(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().sum(-1)

    assert GoalCost(CostConfig(path=1.0), steps)(IMAGINED, ACTIONS, goal([1.0, 1.0]), MINE).tolist() == [4.0]


def test_a_probe_target_is_reached_without_any_picture() -> None:
    """The probe reads x - y, in units of 2; y alone does not matter."""
    probe = Probe(torch.tensor([[1.0, -1.0], [0.0, 1.0]]), torch.tensor([0.5, 0.0]), torch.tensor([2.0, 1.0]))
    target = Goal(probe=probe, target=torch.tensor([[2.5, torch.nan]]))
    assert GoalCost()(IMAGINED, ACTIONS, target, MINE).tolist() == [((-2.0 + 0.5 - 2.5) / 2.0) ** 2]
    config = SolverConfig(samples=128, elites=12, iterations=15, horizon=2)
    planner = Planner(LinearWorld(), GoalCost(), BOX, 2, config)
    known = situation(torch.zeros(1, 2))
    found = planner.plan(type(known)(known.z, known.past, known.start, target), generator())
    x, y = found.blocks.sum((1, 2))[0].tolist()
    assert x - y == pytest.approx(2.0, abs=0.05)


def test_a_latent_and_a_probe_target_add_up() -> None:
    probe = Probe(torch.eye(2), torch.zeros(2), torch.ones(2))
    both = Goal(torch.tensor([[[1.0, 1.0]]]), probe=probe, target=torch.tensor([[1.0, 0.0]]))
    assert GoalCost()(IMAGINED, ACTIONS, both, MINE).tolist() == [2.0 + 9.0 / 2.0]


def test_goals_that_say_nothing_are_refused() -> None:
    probe = Probe(torch.eye(2), torch.zeros(2), torch.ones(2))
    with pytest.raises(JepaflowError, match="empty"):
        Goal()
    with pytest.raises(JepaflowError, match="probe"):
        Goal(target=torch.zeros(1, 2))
    with pytest.raises(JepaflowError, match="finite"):
        Goal(probe=probe, target=torch.full((1, 2), torch.nan))
    with pytest.raises(JepaflowError, match="picture"):
        Goal(probe=probe, target=torch.zeros(1, 2)).centre()


def test_effort_by_hand() -> None:
    """Scale of the box is 0.5: the actions are 0, 2, 0 units large; their changes +2, -2."""
    actions = torch.tensor([[[[0.0]], [[1.0]], [[0.0]]]]).expand(1, 3, 1, 2)
    args = (torch.zeros(1, 3, 2), actions, goal([0.0, 0.0]), MINE)
    assert Effort(BOX, "actions")(*args).tolist() == pytest.approx([4.0 / 3.0])
    assert Effort(BOX)(*args).tolist() == pytest.approx([4.0])
    single = Effort(BOX)(torch.zeros(1, 1, 2), actions[:, :1], goal([0.0, 0.0]), MINE)
    assert single.tolist() == [0.0]


def test_the_barrier_by_hand() -> None:
    """Margin 0.1 of a width of 2: it begins 0.2 inside the bound."""
    barrier = LimitBarrier(BOX, margin=0.1)
    for value, cost in [(0.0, 0.0), (0.8, 0.0), (0.9, 0.25), (-0.9, 0.25), (1.0, 1.0)]:
        actions = torch.full((1, 1, 1, 2), value)
        assert barrier(torch.zeros(1, 1, 2), actions, goal([0.0, 0.0]), MINE).tolist() == pytest.approx(
            [cost], abs=1e-5
        )


def test_keep_out_by_hand() -> None:
    region = KeepOut(torch.tensor([[1.0, 3.0], [50.0, 50.0]]), radius=2.0)
    assert region(IMAGINED, ACTIONS, goal([0.0, 0.0]), MINE).tolist() == [1.0]  # through the centre
    passing = torch.tensor([[[0.0, 3.0], [9.0, 9.0]]])  # 1 away: rms 1 / sqrt(2)
    assert region(passing, ACTIONS, goal([0.0, 0.0]), MINE).tolist() == pytest.approx([1.0 - 0.5**0.5 / 2.0])
    with pytest.raises(JepaflowError):
        KeepOut(torch.zeros(1, 2), radius=0.0)
    with pytest.raises(JepaflowError):
        KeepOut(torch.zeros(0, 2), radius=1.0)


def test_a_plan_goes_round_what_it_must_keep_out_of() -> None:
    """Straight from (0, 0) to (4, 0) leads over (2, 0); the plan must not."""
    config = SolverConfig(samples=512, elites=32, iterations=25, horizon=4, parameters="hold")
    target = torch.tensor([[4.0, 0.0]])
    path = GoalCost(CostConfig(path=1.0))
    cost = WeightedSum([(1.0, path), (30.0, KeepOut(torch.tensor([[2.0, 0.0]]), radius=0.7))])
    passed = [
        torch.cat([torch.zeros(1, 1, 2), found.blocks.sum(2).cumsum(1)], 1)[0]
        for found in (solve(LinearWorld(), target, config, path), solve(LinearWorld(), target, config, cost))
    ]
    nearest = [(path - torch.tensor([2.0, 0.0])).norm(dim=1).min().item() for path in passed]
    assert nearest[0] < 0.2
    assert nearest[1] > 0.9  # radius 0.7 rms is 0.99 in length
    assert (passed[1][-1] - target[0]).norm() < 0.3


def test_sums_and_the_configured_cost() -> None:
    assert isinstance(make_cost(CostConfig(path=1.0), BOX), GoalCost)
    full = make_cost(CostConfig(path=1.0, effort=2.0, limits=3.0), BOX)
    actions = torch.tensor([[[[0.0]], [[1.0]]]]).expand(1, 2, 1, 2)
    args = (IMAGINED, actions, goal([1.0, 1.0]), MINE)
    parts = [GoalCost(CostConfig(path=1.0))(*args), Effort(BOX)(*args), LimitBarrier(BOX)(*args)]
    assert full(*args).item() == pytest.approx((parts[0] + 2.0 * parts[1] + 3.0 * parts[2]).item())
    assert WeightedSum([(0.5, GoalCost())])(*args).item() == pytest.approx(1.0)
    with pytest.raises(JepaflowError):
        WeightedSum([])
