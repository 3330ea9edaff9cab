"""Every solver against optima that are known by calculation, and what all of them promise."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.cem import colour
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.cost import CostConfig, GoalCost
from jepaflow.planning.mppi import softmin
from jepaflow.planning.planner import Planner
from jepaflow.planning.problem import Problem
from jepaflow.planning.solvers import make_solver
from jepaflow.planning.space import ActionSpace
from jepaflow.sims.disc import move
from jepaflow.sims.two_room_geometry import TwoRoomConfig

from .conftest import BOX, LinearWorld, generator, situation, solve, solve_quadratic

CONFIGS = {
    "cem": SolverConfig("cem", samples=256, elites=24, iterations=20, horizon=3),
    "icem": SolverConfig("icem", samples=256, elites=24, iterations=20, horizon=3, beta=0.5, shrink=1.05),
    "mppi": SolverConfig("mppi", samples=256, iterations=20, horizon=3),
    "gradient": SolverConfig("gradient", samples=8, iterations=60, horizon=3),
    "random": SolverConfig("random", samples=4096, iterations=8, horizon=3),
}
KINDS = list(CONFIGS)
SEARCHING = [kind for kind in KINDS if kind != "random"]


def problem(optimum: Tensor, proposals: Tensor | None = None, envs: int = 1) -> Problem:
    """Return the search for `optimum` (N, P, A) in a unit box, by squared distance."""
    shape = (envs, *optimum.shape)
    return Problem(
        lambda params: (params - optimum).square().sum((2, 3, 4)),
        torch.zeros(shape),
        torch.full(shape, 0.5),
        -torch.ones(optimum.shape[-1]),
        torch.ones(optimum.shape[-1]),
        proposals,
    )


@pytest.mark.parametrize("kind", SEARCHING)
def test_a_quadratic_s_optimum_is_found(kind: str) -> None:
    optimum = torch.rand(3, 2, 2, generator=generator(1)) * 1.6 - 0.8
    found = solve_quadratic(optimum, CONFIGS[kind])
    assert torch.allclose(found.blocks[0], optimum, atol=0.06)
    assert found.cost.item() < 0.02


def test_random_shooting_comes_near_in_few_dimensions() -> None:
    found = solve_quadratic(torch.full((1, 1, 2), 0.5), replace(CONFIGS["random"], horizon=1))
    assert torch.allclose(found.blocks, torch.full((1, 1, 1, 2), 0.5), atol=0.05)


@pytest.mark.parametrize("kind", SEARCHING)
def test_an_optimum_outside_the_bounds_gives_the_bound(kind: str) -> None:
    optimum = torch.tensor([3.0, -3.0]).expand(3, 2, 2)
    found = solve_quadratic(optimum, CONFIGS[kind])
    assert torch.allclose(found.blocks[0], torch.tensor([1.0, -1.0]).expand(3, 2, 2), atol=0.06)
    assert found.blocks.abs().max() <= 1.0


@pytest.mark.parametrize("parameters", ["full", "hold", "displace", "knots"])
@pytest.mark.parametrize("kind", SEARCHING)
def test_goals_are_reached_whatever_is_searched_each_environment_its_own(kind: str, parameters: str) -> None:
    goals = torch.tensor([[2.0, -1.5], [0.0, 0.0], [-2.5, 1.0]])
    starts = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, -1.0]])
    config = replace(CONFIGS[kind], parameters=parameters)
    found = solve(LinearWorld(), goals, config, z=starts)
    assert torch.allclose(starts + found.blocks.sum((1, 2)), goals, atol=0.1)


def test_random_shooting_is_worse_than_cem_at_equal_budget() -> None:
    """20 seeds, 12 numbers to search, 960 plans each: CEM wins nearly always (a fair coin: 18 of 20 has p < 3e-4)."""
    optimum = torch.rand(3, 2, 2, generator=generator(1)) * 1.6 - 0.8
    wins = 0
    for seed in range(20):
        cem, random = (
            solve_quadratic(optimum, SolverConfig(kind, samples=96, elites=10, iterations=10, horizon=3), seed).blocks
            for kind in ("cem", "random")
        )
        wins += int((cem - optimum).square().sum() < (random - optimum).square().sum())
    assert wins >= 18


def test_icem_needs_fewer_samples_than_cem_for_smooth_plans() -> None:
    """A slowly turning optimum, 60 numbers, few samples: correlated noise finds it, white noise does not."""
    turn = torch.linspace(0.0, 2.0, 30)
    optimum = torch.stack([0.8 * torch.cos(turn), 0.8 * torch.sin(turn)], -1).view(10, 3, 2)
    budget = SolverConfig(samples=48, elites=8, iterations=8, horizon=10, shrink=1.0)
    errors = {kind: [] for kind in ("cem", "icem")}
    for kind in errors:
        for seed in range(10):
            found = solve_quadratic(optimum, replace(budget, kind=kind), seed)
            errors[kind].append((found.blocks[0] - optimum).square().mean().item())
    assert np.mean(errors["icem"]) < 0.6 * np.mean(errors["cem"])
    assert np.median(errors["icem"]) < np.median(errors["cem"])


@pytest.mark.parametrize("kind", [*KINDS, "proposal"])
def test_one_of_everything(kind: str) -> None:
    """Degenerate sizes: one environment, sample, elite, iteration, block, control step, action."""
    config = SolverConfig(kind, samples=1, elites=1, iterations=1, horizon=1)  # type: ignore[arg-type]
    box = ActionSpace.from_bounds(-torch.ones(1), torch.ones(1))
    planner = Planner(LinearWorld(), GoalCost(), box, 1, config)
    known = situation(torch.ones(1, 1), start=torch.zeros(1, 1), block=1)
    proposals = torch.full((1, 1, 1, 1, 1), 0.25) if kind == "proposal" else None
    found = planner.plan(known, generator(), proposals=proposals)
    assert found.blocks.shape == (1, 1, 1, 1)
    expected = {"gradient": 0.05, "proposal": 0.25}.get(
        kind, 0.0
    )  # one step of 0.1 x std 0.5; the mean is all there is
    assert found.blocks.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_costs_that_are_not_numbers_are_outvoted_all_of_them_are_one_sentence(kind: str) -> None:
    class Breaks(LinearWorld):
        def __init__(self, above: float) -> None:
            super().__init__()
            self.above = above

        def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
            bad = (future.flatten(1).amax(1) > self.above)[:, None, None]
            return torch.where(bad, torch.nan, super().rollout(z, past, future))

    config = replace(CONFIGS[kind], samples=64, elites=8, iterations=20)
    found = solve(Breaks(0.9), torch.tensor([[1.0, 1.0]]), config)
    assert torch.isfinite(found.blocks).all()
    assert torch.isfinite(found.cost).all()
    assert torch.allclose(found.blocks.sum((1, 2)), torch.ones(1, 2), atol=0.1 if kind != "random" else 0.5)
    with pytest.raises(JepaflowError, match="NaN"):
        solve(Breaks(-2.0), torch.tensor([[1.0, 1.0]]), config)


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_in_the_past_gives_a_legal_plan_at_once(kind: str) -> None:
    world = LinearWorld()
    planner = Planner(world, GoalCost(), BOX, 2, CONFIGS[kind])
    warm = torch.full((2, 3, 2, 2), 7.0)
    found = planner.plan(situation(torch.ones(2, 2)), generator(), warm, deadline=time.perf_counter())
    assert world.rows == []
    assert found.iterations == 0
    assert torch.equal(found.blocks, torch.ones(2, 3, 2, 2))  # the warm start, brought inside the box
    assert torch.isinf(found.cost).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_is_kept_and_more_time_is_better_used(kind: str) -> None:
    class Slow(LinearWorld):
        def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
            time.sleep(0.02)
            return super().rollout(z, past, future)

    config = replace(CONFIGS[kind], samples=64, elites=8, iterations=200)
    planner = Planner(Slow(), GoalCost(), BOX, 2, config)
    began = time.perf_counter()
    found = planner.plan(situation(torch.ones(1, 2)), generator(), deadline=began + 0.15)
    assert 1 <= found.iterations <= 7
    assert time.perf_counter() - began < 0.15 + 0.1  # a busy machine may stretch the last iteration
    assert found.blocks.abs().max() <= 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_gives_the_plans_of_single_solves(kind: str) -> None:
    """With a generator per environment; with one generator for all, each environment would draw other numbers."""
    goals = torch.tensor([[2.0, -1.0], [0.5, 0.0], [-4.0, 1.0]])
    config = replace(CONFIGS[kind], samples=32, elites=6, iterations=4)
    planner = Planner(LinearWorld(), GoalCost(CostConfig(path=1.0)), BOX, 2, config)
    batch = planner.plan(situation(goals), [generator(seed) for seed in range(3)])
    for env in range(3):
        alone = planner.plan(situation(goals[env : env + 1]), [generator(env)])
        same = planner.plan(situation(goals[env : env + 1]), generator(env))
        assert torch.allclose(batch.blocks[env], alone.blocks[0], atol=1e-5)
        assert torch.equal(alone.blocks, same.blocks)
    with pytest.raises(JepaflowError, match="generators"):
        planner.plan(situation(goals), [generator(0)])


@pytest.mark.parametrize("kind", KINDS)
def test_plans_are_legal_even_with_absurd_beginnings(kind: str) -> None:
    """Bounds and rates hold with any warm start, proposals and start action."""
    space = ActionSpace.from_bounds(-torch.ones(2), torch.ones(2), rate=torch.tensor([0.1, 0.2]))
    absurd = torch.tensor([torch.nan, torch.inf, -torch.inf, 1e9, -1e9, 0.0])
    for parameters in ("full", "hold", "displace", "knots"):
        config = replace(CONFIGS[kind], samples=24, elites=5, iterations=3, parameters=parameters)
        planner = Planner(LinearWorld(), GoalCost(), space, 4, config)
        count = planner.parameterisation.count
        proposals = absurd[torch.randint(6, (2, 9, 3, count, 2), generator=generator())]
        warm = 1e6 * torch.randn(2, 3, count, 2, generator=generator())
        start = torch.tensor([[5.0, 0.0], [0.9, -0.9]])
        known = situation(torch.ones(2, 2), start=start, block=4)
        found = planner.plan(known, generator(), warm, proposals)
        steps = torch.cat([start.clamp(-1.0, 1.0)[:, None], found.blocks.flatten(1, 2)], 1)
        assert torch.isfinite(steps).all()
        assert steps.abs().max() <= 1.0
        assert (steps.diff(dim=1).abs() <= torch.tensor([0.1, 0.2]) + 1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_proposal_is_taken_up_and_a_bad_one_does_no_harm(kind: str) -> None:
    """The optimum is a needle that no search of this size finds by itself."""
    optimum = torch.rand(6, 2, 2, generator=generator(2)) * 1.8 - 0.9

    def needle(params: Tensor) -> Tensor:
        far = (params - optimum).square().sum((2, 3, 4))
        return torch.where(far < 0.01, far - 100.0, (params.square().sum((2, 3, 4)) + 1.0))

    good = problem(optimum)
    config = replace(CONFIGS[kind], samples=32, elites=8, iterations=5, answer="best")
    for proposals, found_it in [
        (None, False),
        (torch.stack([-optimum, optimum])[None], True),
        (-optimum[None, None], False),
    ]:
        asked = Problem(needle, good.mean, good.std, good.low, good.high, proposals)
        found = make_solver(config).solve(asked, generator())
        assert (found.best_cost.item() < -90.0) == found_it
        assert found.cost.item() <= 1.0 + 1e-6  # what the mean costs, at least


def test_elite_proposals_stay_candidates() -> None:
    """Once told, the optimum is among the candidates of every later iteration of cem, icem and mppi."""
    optimum = torch.full((2, 1, 1), 0.9)
    for kind in ("cem", "icem", "mppi"):
        seen = []
        asked = problem(optimum, optimum[None, None])

        def watch(params: Tensor, asked: Problem = asked, seen: list = seen) -> Tensor:
            seen.append(bool((params == optimum).flatten(2).all(2).any()))
            return asked.evaluate(params)

        watched = Problem(watch, asked.mean, asked.std, asked.low, asked.high, asked.proposals)
        make_solver(SolverConfig(kind, samples=16, elites=4, iterations=4)).solve(watched, generator())  # type: ignore[arg-type]
        assert seen == [True] * 4


def test_icem_hands_elites_on_and_others_do_not() -> None:
    optimum = torch.full((2, 1, 1), 0.3)
    for kind, count in [("icem", 2), ("cem", 0), ("mppi", 0), ("random", 0), ("gradient", 0)]:
        config = SolverConfig(kind, samples=16, elites=6, iterations=3, keep=0.3)  # type: ignore[arg-type]
        assert make_solver(config).solve(problem(optimum), generator()).elites.shape[1] == count


def test_icem_spends_fewer_samples_each_iteration() -> None:
    world = LinearWorld()
    config = SolverConfig("icem", samples=100, elites=10, iterations=6, horizon=2, shrink=1.5)
    solve(world, torch.ones(1, 2), config)
    assert world.rows == [100, 66, 44, 29, 20, 20]


def test_the_answer_can_be_the_mean_or_the_best() -> None:
    for kind in ("cem", "icem", "mppi"):
        config = SolverConfig(kind, samples=16, elites=6, iterations=2)  # type: ignore[arg-type]
        mean, best = (
            make_solver(replace(config, answer=answer)).solve(problem(torch.full((2, 1, 1), 0.3)), generator())
            for answer in ("mean", "best")
        )
        assert torch.equal(mean.params, mean.mean)
        assert torch.equal(best.params, best.best)
        assert best.cost == best.best_cost <= mean.cost
        assert best.cost.item() == pytest.approx((best.params - 0.3).square().sum().item())


@pytest.mark.parametrize("length", [1, 2, 15])
def test_coloured_noise_has_unit_variance(length: int) -> None:
    for beta in (0.0, 1.0, 2.0, 4.0):
        factor = colour(length, beta)
        assert torch.allclose((factor @ factor.mT).diagonal(), torch.ones(length), atol=1e-4)
    assert torch.allclose(colour(length, 0.0), torch.eye(length), atol=1e-6)


def test_coloured_noise_is_smooth_and_its_spectrum_falls_as_it_should() -> None:
    series = torch.randn(4000, 256, generator=generator()) @ colour(256, 2.0).mT
    window = torch.hann_window(256)
    power = torch.fft.rfft(series * window).abs().square().mean(0)
    slope = math.log(power[64].item() / power[8].item()) / math.log(8.0)
    assert slope == pytest.approx(-2.0, abs=0.15)
    neighbours = (series[:, 1:] * series[:, :-1]).mean() / series.square().mean()
    assert neighbours > 0.95


def test_mppi_s_temperature() -> None:
    costs = torch.tensor([[0.0, 1.0, 2.0, torch.inf], [5.0, 5.0, 5.0, torch.inf]])
    spread = math.sqrt(2.0 / 3.0)
    weights = softmin(costs, 0.5)
    expected = torch.softmax(torch.tensor([0.0, -1.0, -2.0]) / (0.5 * spread), 0)
    assert torch.allclose(weights[0, :3], expected)
    assert weights[:, 3].tolist() == [0.0, 0.0]
    assert torch.allclose(weights[1, :3], torch.full((3,), 1.0 / 3.0))  # equal costs count equally
    assert torch.allclose(softmin(1000.0 * costs, 0.5), weights)  # a cost has no unit
    assert softmin(costs, 1e-3)[0, 0].item() == pytest.approx(1.0)
    assert torch.allclose(softmin(costs, 1e6)[0, :3], torch.full((3,), 1.0 / 3.0), atol=1e-5)
    assert softmin(torch.tensor([[torch.inf, 3.0]]), 0.5).tolist() == [[0.0, 1.0]]


def test_gradients_touch_no_weight_and_need_a_model_that_has_them() -> None:
    class Learned(torch.nn.Linear):
        def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
            return z[:, -1:] + self(future.sum(2)).cumsum(1)

    class Counted(LinearWorld):
        def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
            return super().rollout(z, past, future).detach()

    model = Learned(2, 2)
    found = solve(model, torch.ones(1, 2), CONFIGS["gradient"])  # type: ignore[arg-type]
    assert found.cost.item() < 1e-3
    assert not found.blocks.requires_grad
    assert all(weight.grad is None for weight in model.parameters())
    with pytest.raises(JepaflowError, match="differentiated"):
        solve(Counted(), torch.ones(1, 2), CONFIGS["gradient"])


def test_a_proposal_alone_needs_no_imagination_but_a_proposal() -> None:
    world = LinearWorld()
    planner = Planner(world, GoalCost(), BOX, 2, SolverConfig("proposal", horizon=2))
    proposals = torch.full((1, 3, 2, 2, 2), 0.5)
    proposals[:, 1:] = 5.0
    found = planner.plan(situation(torch.ones(1, 2)), generator(), proposals=proposals)
    assert torch.equal(found.blocks, torch.full((1, 2, 2, 2), 0.5))
    assert world.rows == []
    with pytest.raises(JepaflowError, match="proposer"):
        planner.plan(situation(torch.ones(1, 2)), generator())


def test_committed_blocks_come_first_and_are_not_planned() -> None:
    """The goal is 3 away, the committed block goes 2 of it: the plan goes 1, and is priced from there."""
    known = situation(torch.tensor([[3.0, 3.0]]))
    committed = torch.ones(1, 1, 2, 2)
    cost = GoalCost(CostConfig(path=1.0))
    planner = Planner(LinearWorld(), cost, BOX, 2, replace(CONFIGS["cem"], iterations=30))
    found = planner.plan(replace(known, committed=committed), generator())
    assert torch.allclose(found.blocks[:, 0].sum(1), torch.ones(1, 2), atol=0.1)
    assert found.cost.item() < 0.05
    imagined = planner.imagine(replace(known, committed=committed), torch.zeros(1, 3, 2, 2))
    assert torch.equal(imagined, torch.full((1, 3, 2), 2.0))


class TwoRooms:
    """Two-Room's true physics: the latent is the disc's centre, px."""

    world, walls = TwoRoomConfig(), TwoRoomConfig().walls()

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Return true positions after each block."""
        imagined = torch.empty(len(z), future.shape[1], 2)
        for row, (start, plan) in enumerate(zip(z[:, -1].tolist(), future.tolist(), strict=True)):
            here = (start[0], start[1])
            for n, block in enumerate(plan):
                for action in block:
                    here = move(self.world, self.walls, here, (5 * action[0], 5 * action[1]))
                imagined[row, n] = torch.tensor(here)
        return imagined


@pytest.mark.parametrize("kind", ["cem", "icem", "mppi"])
def test_two_room_s_true_physics_are_planned_with(kind: str) -> None:
    """60 px there in 3 blocks of 25 px, then stay: within success distance (16 px) from the third block on."""
    target = torch.tensor([[90.0, 150.0], [40.0, 110.0]])
    config = SolverConfig(kind, samples=48, elites=6, iterations=4, horizon=4, parameters="hold")  # type: ignore[arg-type]
    start = torch.tensor([[40.0, 170.0], [60.0, 160.0]])
    found = solve(TwoRooms(), target, config, GoalCost(CostConfig(path=1.0)), start, block=5)
    known = situation(target, start, block=5)
    reached = TwoRooms().rollout(known.z, known.past, found.blocks)
    assert (reached[:, 2:] - target[:, None]).norm(dim=-1).max() < 16.0


@pytest.mark.parametrize(
    "settings",
    [
        {"samples": 0},
        {"elites": 0},
        {"iterations": 0},
        {"horizon": 0},
        {"knots": 0},
        {"rows_per_call": 0},
        {"samples": 4, "elites": 5},
        {"kind": "icem", "samples": 4, "elites": 5},
        {"init_std": 0.0},
        {"init_std": float("nan")},
        {"temperature": 0.0},
        {"learning_rate": float("inf")},
        {"beta": -1.0},
        {"keep": 1.5},
        {"shrink": 0.5},
        {"momentum": 1.0},
    ],
)
def test_a_budget_that_cannot_be_searched_with_is_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError):
        SolverConfig(**settings)


def test_solvers_without_elites_do_not_ask_for_them() -> None:
    assert SolverConfig("random", samples=4).elites > 4
