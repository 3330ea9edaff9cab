"""The solver against optima that are known by calculation."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.cost import CostConfig, GoalCost
from jepaflow.planning.space import ActionSpace

from .conftest import LinearWorld, solve, solve_quadratic

SEARCH = SolverConfig(samples=256, elites=24, iterations=20, horizon=3)
FROZEN = json.loads((Path(__file__).parent / "frozen_cem.json").read_text())
"""What the first release's solver answered: seeds and settings must go on meaning what they meant for `results/`."""


class Curved:
    """A world that is not linear."""

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Return the latents (B, N, 2) after each block."""
        here, imagined = z[:, -1], []
        for n in range(future.shape[1]):
            here = here + torch.tanh(future[:, n].sum(1) + 0.3 * torch.sin(here))
            imagined.append(here)
        return torch.stack(imagined, 1)


@pytest.mark.parametrize("name", [name for name in FROZEN if not name.startswith("controller")])
def test_the_same_seed_gives_the_plan_that_it_always_gave(name: str) -> None:
    case = FROZEN[name]
    config = SolverConfig(**case["solver"])
    box = ActionSpace.from_bounds(
        -torch.ones(2), torch.tensor([1.0, 2.0]), torch.tensor([0.1, 0.0]), torch.tensor([0.6, 0.9])
    )
    z = torch.tensor([[0.0, 0.0], [1.0, -1.0], [0.5, 2.0]])
    goal = torch.tensor([[1.5, -1.0], [0.0, 0.5], [-2.0, 3.0]])
    per_block = 1 if config.parameters == "hold" else 2
    size = 3 * config.horizon * per_block * 2
    warm = torch.linspace(-0.5, 0.5, size).view(3, config.horizon, per_block, 2) if case["warm"] else None
    cost = GoalCost(CostConfig(path=case["path"]))
    found = solve(Curved(), goal, config, cost, z, seed=7, warm=warm, space=box)
    for field in ("blocks", "cost", "mean"):
        assert torch.allclose(getattr(found, field), torch.tensor(case[field]), atol=1e-5), field


@pytest.mark.parametrize("execute", [1, 2])
def test_the_controller_acts_as_it_always_did(execute: int) -> None:
    class Abacus(LinearWorld):
        config, device = SimpleNamespace(block=2, history=3, proprio_dim=0), torch.device("cpu")

        def encode(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
            return pixels[:, :, 0, 0, 0, :2].float()

    def frame(*values: tuple[int, int]) -> np.ndarray:
        pictures = np.zeros((len(values), 1, 8, 8, 3), dtype=np.uint8)
        pictures[:, 0, 0, 0, :2] = values
        return pictures

    solver = SolverConfig(samples=32, elites=4, iterations=3, horizon=3, parameters="hold")
    space = ActionSpace.from_bounds(-torch.ones(2), torch.ones(2))
    controller = Controller(Abacus(), space, ControllerConfig(solver, CostConfig(path=1.0), execute=execute, seed=3))
    controller.reset(frame((12, 18), (9, 5)))
    acted = [controller.act(frame((10 + s // 4, 10), (10, 10 - s // 3))) for s in range(12)]
    assert np.allclose(np.stack(acted), np.array(FROZEN[f"controller_execute_{execute}"]), atol=1e-5)


def test_one_of_everything() -> None:
    """Degenerate sizes first: one environment, sample, elite, iteration, block, control step."""
    config = SolverConfig(samples=1, elites=1, iterations=1, horizon=1)
    found = solve(LinearWorld(), torch.ones(1, 2), config, block=1)
    assert found.blocks.shape == (1, 1, 1, 2)
    assert torch.equal(found.blocks, torch.zeros(1, 1, 1, 2))  # candidate 0, the centre, is all there is
    assert found.cost.item() == pytest.approx(1.0)


def test_holding_finds_the_best_held_plan_and_holds_it() -> None:
    """The held vector nearest to two different actions is their mean."""
    optimum = torch.tensor([[0.8, 0.0], [0.2, -0.4]]).expand(3, 2, 2)
    config = SolverConfig(samples=256, elites=24, iterations=20, horizon=3, parameters="hold")
    found = solve_quadratic(optimum, config)
    assert torch.equal(found.blocks[:, :, 0], found.blocks[:, :, 1])
    assert torch.allclose(found.blocks[0, :, 0], torch.tensor([0.5, -0.2]).expand(3, 2), atol=0.03)
    assert found.mean.shape == (1, 3, 1, 2)


@pytest.mark.parametrize("parameters", ["full", "hold"])
def test_reachable_goals_are_reached_each_environment_its_own(parameters: str) -> None:
    goals = torch.tensor([[2.0, -3.0], [0.0, 0.0], [-4.0, 1.0], [5.0, 5.0]])
    starts = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, -1.0], [2.0, 2.0]])
    config = SolverConfig(samples=256, elites=24, iterations=20, horizon=3, parameters=parameters)  # type: ignore[arg-type]
    found = solve(LinearWorld(), goals, config, z=starts)
    assert torch.allclose(starts + found.blocks.sum((1, 2)), goals, atol=0.1)


def test_a_goal_out_of_reach_is_approached_at_full_speed() -> None:
    found = solve(LinearWorld(), torch.tensor([[100.0, -100.0]]), SEARCH)
    assert torch.allclose(found.blocks[0], torch.tensor([1.0, -1.0]).expand(3, 2, 2), atol=0.05)


def test_the_path_cost_arrives_at_once_and_stays() -> None:
    """Goal at 2 = one block of two full actions. Terminal cost alone lets the plan dawdle; the path cost does not."""
    goal = torch.tensor([[2.0, 2.0]])
    cost = GoalCost(CostConfig(path=5.0))
    found = solve(LinearWorld(), goal, SolverConfig(samples=512, elites=32, iterations=40, horizon=3), cost)
    assert torch.allclose(found.blocks[0, 0], torch.ones(2, 2), atol=0.1)
    assert torch.allclose(found.blocks[0, 1:].sum(1), torch.zeros(2, 2), atol=0.1)


def test_the_same_generator_gives_the_same_plan_and_chunks_do_not_matter() -> None:
    goals = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [3.0, 3.0]])
    whole = solve(LinearWorld(), goals, SEARCH)
    again = solve(LinearWorld(), goals, SEARCH)
    other = solve(LinearWorld(), goals, SEARCH, seed=1)
    dynamics = LinearWorld()
    chunked = solve(dynamics, goals, SolverConfig(samples=256, elites=24, iterations=20, horizon=3, rows_per_call=100))
    assert torch.equal(whole.blocks, again.blocks)
    assert not torch.equal(whole.blocks, other.blocks)
    assert torch.allclose(whole.blocks, chunked.blocks, atol=1e-4)
    assert max(dynamics.rows) == 100
    assert sum(dynamics.rows) == 3 * 256 * 20


def test_a_warm_start_is_where_the_search_begins() -> None:
    warm = torch.full((1, 3, 2, 2), 0.25)
    config = SolverConfig(samples=1, elites=1, iterations=1, horizon=3)
    found = solve(LinearWorld(), torch.ones(1, 2), config, warm=warm)
    assert torch.equal(found.blocks, warm)
    assert torch.equal(warm, torch.full((1, 3, 2, 2), 0.25))  # and the caller's tensor is left alone


def test_no_gradient_is_kept() -> None:
    goal = torch.ones(1, 2, requires_grad=True)
    assert not solve(LinearWorld(), goal, SEARCH).blocks.requires_grad
