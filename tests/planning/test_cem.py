"""The solver against optima that are known by calculation."""

import pytest
import torch
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.cem import ActionSpace, CEMConfig, Plan, plan
from jepaflow.planning.cost import CostConfig, GoalCost

from .conftest import LinearWorld, generator

BOX = ActionSpace.from_bounds(-torch.ones(2), torch.ones(2))
SEARCH = CEMConfig(samples=256, elites=24, iterations=20, horizon=3)


class Quadratic:
    """Reads the plan itself: cost = |actions - optimum|^2, whatever the goal."""

    def __init__(self, optimum: Tensor) -> None:
        self.optimum = optimum

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Return the flattened plan as the 'latents' (B, N, K * A)."""
        return future.flatten(2)

    def __call__(self, imagined: Tensor, goal: Tensor) -> Tensor:
        """Return the squared distance of the plan to the optimum."""
        return (imagined - self.optimum.flatten(1)).square().sum((1, 2))


def solve(
    dynamics: LinearWorld,
    goal: Tensor,
    config: CEMConfig = SEARCH,
    cost: GoalCost | None = None,
    start: Tensor | None = None,
    block: int = 2,
    seed: int = 0,
    warm: Tensor | None = None,
) -> Plan:
    """Plan from `start` (zeros) in `dynamics`."""
    z = torch.zeros(len(goal), 1, goal.shape[1]) if start is None else start[:, None]
    past = torch.zeros(len(goal), 0, block, 2)
    return plan(dynamics, cost or GoalCost(), config, BOX, block, z, past, goal, generator(seed), warm)


def test_one_of_everything() -> None:
    """Degenerate sizes first: one environment, sample, elite, iteration, block, control step."""
    config = CEMConfig(samples=1, elites=1, iterations=1, horizon=1)
    found = solve(LinearWorld(), torch.ones(1, 2), config, block=1)
    assert found.blocks.shape == (1, 1, 1, 2)
    assert torch.equal(found.blocks, torch.zeros(1, 1, 1, 2))  # candidate 0, the centre, is all there is
    assert found.cost.item() == pytest.approx(1.0)


def test_a_quadratic_s_optimum_is_found() -> None:
    optimum = torch.rand(3, 2, 2, generator=generator(1)) * 1.6 - 0.8
    judge = Quadratic(optimum)
    found = plan(
        judge, judge, SEARCH, BOX, 2, torch.zeros(1, 1, 4), torch.zeros(1, 0, 2, 2), torch.zeros(1, 4), generator()
    )
    assert torch.allclose(found.blocks[0], optimum, atol=0.05)
    assert found.cost.item() < 0.01


def test_an_optimum_outside_the_bounds_gives_the_bound() -> None:
    optimum = torch.tensor([3.0, -3.0]).expand(3, 2, 2)
    judge = Quadratic(optimum)
    found = plan(
        judge, judge, SEARCH, BOX, 2, torch.zeros(1, 1, 4), torch.zeros(1, 0, 2, 2), torch.zeros(1, 4), generator()
    )
    assert torch.allclose(found.blocks[0], torch.tensor([1.0, -1.0]).expand(3, 2, 2), atol=0.05)
    assert found.blocks.abs().max() <= 1.0


def test_holding_finds_the_best_held_plan_and_holds_it() -> None:
    """The held vector nearest to two different actions is their mean."""
    optimum = torch.tensor([[0.8, 0.0], [0.2, -0.4]]).expand(3, 2, 2)
    judge = Quadratic(optimum)
    config = CEMConfig(samples=256, elites=24, iterations=20, horizon=3, parameters="hold")
    found = plan(
        judge, judge, config, BOX, 2, torch.zeros(1, 1, 4), torch.zeros(1, 0, 2, 2), torch.zeros(1, 4), generator()
    )
    assert torch.equal(found.blocks[:, :, 0], found.blocks[:, :, 1])
    assert torch.allclose(found.blocks[0, :, 0], torch.tensor([0.5, -0.2]).expand(3, 2), atol=0.03)
    assert found.mean.shape == (1, 3, 1, 2)


@pytest.mark.parametrize("parameters", ["full", "hold"])
def test_reachable_goals_are_reached_each_environment_its_own(parameters: str) -> None:
    goals = torch.tensor([[2.0, -3.0], [0.0, 0.0], [-4.0, 1.0], [5.0, 5.0]])
    starts = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, -1.0], [2.0, 2.0]])
    config = CEMConfig(samples=256, elites=24, iterations=20, horizon=3, parameters=parameters)  # type: ignore[arg-type]
    found = solve(LinearWorld(), goals, config, start=starts)
    assert torch.allclose(starts + found.blocks.sum((1, 2)), goals, atol=0.1)


def test_a_goal_out_of_reach_is_approached_at_full_speed() -> None:
    found = solve(LinearWorld(), torch.tensor([[100.0, -100.0]]))
    assert torch.allclose(found.blocks[0], torch.tensor([1.0, -1.0]).expand(3, 2, 2), atol=0.05)


def test_the_path_cost_arrives_at_once_and_stays() -> None:
    """Goal at 2 = one block of two full actions. Terminal cost alone lets the plan dawdle; the path cost does not."""
    goal = torch.tensor([[2.0, 2.0]])
    cost = GoalCost(CostConfig(path=5.0))
    found = solve(LinearWorld(), goal, CEMConfig(samples=512, elites=32, iterations=40, horizon=3), cost)
    assert torch.allclose(found.blocks[0, 0], torch.ones(2, 2), atol=0.1)
    assert torch.allclose(found.blocks[0, 1:].sum(1), torch.zeros(2, 2), atol=0.1)


def test_the_same_generator_gives_the_same_plan_and_chunks_do_not_matter() -> None:
    goals = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [3.0, 3.0]])
    whole = solve(LinearWorld(), goals)
    again = solve(LinearWorld(), goals)
    other = solve(LinearWorld(), goals, seed=1)
    dynamics = LinearWorld()
    chunked = solve(dynamics, goals, CEMConfig(samples=256, elites=24, iterations=20, horizon=3, rows_per_call=100))
    assert torch.equal(whole.blocks, again.blocks)
    assert not torch.equal(whole.blocks, other.blocks)
    assert torch.allclose(whole.blocks, chunked.blocks, atol=1e-4)
    assert max(dynamics.rows) == 100
    assert sum(dynamics.rows) == 3 * 256 * 20


def test_a_warm_start_is_where_the_search_begins() -> None:
    warm = torch.full((1, 3, 2, 2), 0.25)
    config = CEMConfig(samples=1, elites=1, iterations=1, horizon=3)
    found = solve(LinearWorld(), torch.ones(1, 2), config, warm=warm)
    assert torch.equal(found.blocks, warm)
    assert torch.equal(warm, torch.full((1, 3, 2, 2), 0.25))  # and the caller's tensor is left alone


def test_no_gradient_is_kept() -> None:
    goal = torch.ones(1, 2, requires_grad=True)
    assert not solve(LinearWorld(), goal).blocks.requires_grad


def test_some_broken_candidates_are_outvoted_all_broken_ones_are_an_error() -> None:
    class Breaks(LinearWorld):
        def __init__(self, above: float) -> None:
            super().__init__()
            self.above = above

        def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
            imagined = super().rollout(z, past, future)
            imagined[future.flatten(1).amax(1) > self.above] = torch.nan
            return imagined

    found = solve(Breaks(0.9), torch.tensor([[1.0, 1.0]]))
    assert torch.isfinite(found.blocks).all()
    assert torch.allclose(found.blocks.sum((1, 2)), torch.ones(1, 2), atol=0.1)
    with pytest.raises(JepaflowError, match="NaN"):
        solve(Breaks(-2.0), torch.tensor([[1.0, 1.0]]))


@pytest.mark.parametrize(
    "settings",
    [
        {"samples": 0},
        {"elites": 0},
        {"iterations": 0},
        {"horizon": 0},
        {"rows_per_call": 0},
        {"samples": 4, "elites": 5},
        {"init_std": 0.0},
        {"init_std": float("nan")},
    ],
)
def test_a_budget_that_cannot_be_searched_with_is_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError):
        CEMConfig(**settings)


def test_action_spaces() -> None:
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 4.0])
    space = ActionSpace.from_bounds(low, high)
    assert torch.equal(space.centre, torch.tensor([0.0, 2.0]))
    assert torch.equal(space.scale, torch.tensor([0.5, 1.0]))
    given = ActionSpace.from_bounds(low, high, torch.tensor([5.0, 1.0]), torch.tensor([0.1, 9.0]))
    assert torch.equal(given.centre, torch.tensor([1.0, 1.0]))  # never outside the box
    assert torch.equal(given.scale, torch.tensor([0.1, 4.0]))
    for bad in [torch.tensor([torch.inf, 1.0]), torch.tensor([-1.0, 1.0])]:
        with pytest.raises(JepaflowError):
            ActionSpace.from_bounds(low, bad)


def test_costs_by_hand() -> None:
    imagined = torch.tensor([[[0.0, 0.0], [1.0, 3.0]]])
    goal = torch.tensor([[1.0, 1.0]])
    assert GoalCost()(imagined, goal).tolist() == [2.0]  # (0 + 4) / 2
    assert GoalCost(CostConfig(path=0.5))(imagined, goal).tolist() == [2.0 + 0.5 * (1.0 + 2.0) / 2]
    with pytest.raises(JepaflowError):
        CostConfig(path=-0.1)
