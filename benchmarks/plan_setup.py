"""What the planning benchmarks plan with: models whose actions matter, made-up scenes, and our planner as a user has it.

An untrained predictor ignores the actions (its gates start at zero) and would give all plans nearly the same cost. How long
anything takes does not depend on the weights, but which plans are best must, for elites to be compared. So the gates are
opened, and what training would bring to unit variance (action embeddings, forecasts) is brought there: the costs of random
plans then differ by some ten percent of their mean, as a trained model's do.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from benchmarks.reference.lewm_planning import LewmPlanner, Scene, Search
from benchmarks.reference.plain_model import PlainJEPA
from jepaflow.cli.benchmark import Budget
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.cost import GoalCost
from jepaflow.planning.goal import Goal
from jepaflow.planning.planner import Plan, Planner, Situation
from jepaflow.planning.problem import Generators, Problem, Solution, Solver
from jepaflow.planning.space import ActionSpace
from jepaflow.training.device import choose_precision
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig
from jepaflow.worldmodel.presets import preset

GATES = 1.0
"""How far the gates are opened: standard deviation of a modulation, for action embeddings of unit variance."""


def awake(config: JEPAConfig, device: torch.device, seed: int = 0) -> JEPA:
    """A random model in eval mode whose forecasts depend on the actions."""
    torch.manual_seed(seed)
    model = JEPA(config).eval()
    dim, rows = config.latent_dim, 64
    for layer in model.predictor.layers:
        torch.nn.init.normal_(layer.modulation.weight, std=GATES / dim**0.5)
    blocks = torch.randn(rows, config.history, config.block, config.action_dim)
    with torch.no_grad():
        told = model.scale_blocks(blocks)
        _standardise(model.action_encoder.mlp[-1], model.action_encoder(told))
        raw = model.predictor(torch.randn(rows, config.history, dim), model.action_encoder(told))
        hidden = model.pred_proj[0](raw.flatten(0, 1))
        model.pred_proj[1].running_mean.copy_(hidden.mean(0))
        model.pred_proj[1].running_var.copy_(hidden.var(0))
        _standardise(model.pred_proj[-1], model.pred_proj(raw.flatten(0, 1)))
    return model.to(device)


def _standardise(layer: torch.nn.Linear, outputs: Tensor) -> None:
    """Change a layer so that these outputs of it would have had mean 0 and variance 1 in every dimension."""
    flat = outputs.flatten(0, -2)
    mean, std = flat.mean(0), flat.std(0).clamp(min=1e-6)
    layer.weight /= std[:, None]
    layer.bias.copy_((layer.bias - mean) / std)


def longest(name: str, seen: int, horizon: int) -> tuple[JEPAConfig, str]:
    """Our model at a LeWorldModel preset's size, in which nothing slides out of the context, and what it is called."""
    ours = "lean" if name == "paper" else name
    return preset(ours, history=seen + horizon), f"preset {ours} with a history of {seen + horizon}"


def made_scene(config: JEPAConfig, seen: int, device: torch.device, seed: int = 0) -> Scene:
    """Random frames, one environment, `seen` of them before the plan."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(config.cameras), config.image_size, config.image_size, 3)
    frames = torch.randint(0, 256, (1, seen + 1, *shape), generator=generator, dtype=torch.uint8).to(device)
    past = torch.randn(1, seen - 1, config.block, config.action_dim, generator=generator).to(device)
    return Scene(frames[:, :seen], past, frames[:, seen:])


class WatchedSolver:
    """A solver that keeps what its search priced when asked to; nothing inside the pricing is touched."""

    def __init__(self, solver: Solver) -> None:
        self._solver, self.kept = solver, False
        self.seen: list[tuple[Tensor, Tensor]] = []
        """Candidates [S N K A] and costs [S] of each iteration."""

    def solve(self, problem: Problem, generator: Generators, deadline: float | None = None) -> Solution:
        """Search (see `Solver`)."""

        def evaluate(candidates: Tensor) -> Tensor:
            costs = problem.evaluate(candidates)
            self.seen.append((candidates[0].clone(), costs[0].clone()))
            return costs

        watched = replace(problem, evaluate=evaluate) if self.kept else problem
        return self._solver.solve(watched, generator, deadline)


def wide_space(actions: int, device: torch.device) -> ActionSpace:
    """Z-scored actions whose bounds no sample ever meets: LeWorldModel clips nothing."""
    far, nothing = torch.full((actions,), 1e3, device=device), torch.zeros(actions, device=device)
    return ActionSpace(-far, far, nothing, torch.ones_like(far))


class OurPlanner:
    """`jepaflow.planning.planner.Planner` on a scene, with LeWorldModel's budget and cost.

    Args:
        model: the world model.
        budget: of the search.
        scene: what is seen and wanted.
        precision: as `SolverConfig.precision`. In bf16 the elites are others than a float32 reference's.
    """

    def __init__(
        self, model: JEPA, budget: Budget, scene: Scene, precision: Literal["auto", "bf16", "float32"] = "auto"
    ) -> None:
        self.model, self.scene = model, scene
        config = SolverConfig(
            samples=budget.samples,
            elites=budget.elites,
            iterations=budget.measured,
            horizon=budget.horizon,
            parameters="full",
            answer="mean",
            rows_per_call=max(8192, budget.samples),
            precision=precision,
        )
        space = wide_space(model.config.action_dim, model.device)
        self.planner = Planner(model, GoalCost(), space, model.config.block, config)
        self.watched = self.planner.solver = WatchedSolver(self.planner.solver)
        self.precision, _ = choose_precision(config.precision, model.device)

    @torch.no_grad()
    def encode(self) -> tuple[Tensor, Tensor]:
        """Return the latents of history [1 H D] and goal [1 1 D]."""
        return self.model.encode(self.scene.frames), self.model.encode(self.scene.goal)

    @torch.no_grad()
    def look(self) -> Tensor:
        """Encode what a controller encodes each decision: the new frame. It keeps the latents of the others and the goal's."""
        return self.model.encode(self.scene.frames[:, -1:])

    def situation(self, latents: tuple[Tensor, Tensor]) -> Situation:
        """What is known, given the latents."""
        start = torch.zeros(1, self.model.config.action_dim, device=self.model.device)
        return Situation(latents[0], self.scene.past, start, Goal(latents[1]))

    def plan(self, latents: tuple[Tensor, Tensor], seed: int = 0) -> Plan:
        """Search from latents."""
        generator = torch.Generator(self.model.device).manual_seed(seed)
        return self.planner.plan(self.situation(latents), generator)


def plain_planner(model: JEPA, budget: Budget) -> LewmPlanner:
    """LeWorldModel's plain search with a model's weights."""
    return LewmPlanner(
        PlainJEPA.of(model), Search(budget.samples, budget.measured, budget.horizon, budget.elites, False)
    )


@dataclass(frozen=True)
class Agreement:
    """How our search compares with the plain one, candidate by candidate."""

    iterations: int
    same_elites: int
    """Iterations whose elites were the same plans."""
    cost_difference: float
    """Greatest difference of a cost, as a share of it."""
    tie: float
    """Of plans that only one of them chose: the greatest distance of their cost from the worst elite's, as a share of it."""
    answer_difference: float
    """Greatest difference of an action in the two searches' answers, each left to itself with the same seed."""

    def describe(self) -> str:
        """For a row's note."""
        but = "" if self.same_elites == self.iterations else f" (where not, by ties within {self.tie:.1e} of the cost)"
        return (
            f"elites the same in {self.same_elites} of {self.iterations} iterations{but}, greatest relative difference of a "
            f"cost {self.cost_difference:.1e}; same seed, each on its own: the plans differ by at most "
            f"{self.answer_difference:.1e} (z-scored actions)"
        )


def compare(ours: OurPlanner, reference: LewmPlanner, seed: int = 0) -> Agreement:
    """Search with both from the same seed, and price every candidate of ours with the plain model too."""
    latents = ours.encode()
    ours.watched.kept = True
    answer = ours.plan(latents, seed).blocks
    ours.watched.kept = False
    plain = reference.encode(ours.scene)
    same, greatest, tie = 0, 0.0, 0.0
    for actions, costs in ours.watched.seen:
        priced = reference.price(plain[0], ours.scene.past, plain[1], actions)
        mine, theirs = (
            set(one.topk(reference.search.elites, largest=False).indices.tolist()) for one in (costs, priced)
        )
        same += mine == theirs
        greatest = max(greatest, float(((costs - priced) / priced).abs().max()))
        worst = float(priced[list(theirs)].max())
        tie = max([tie, *(abs(float(priced[plan]) / worst - 1) for plan in mine ^ theirs)])
    other = reference.plan(ours.scene, torch.Generator(ours.model.device).manual_seed(seed)).mean
    return Agreement(len(ours.watched.seen), same, greatest, tie, float((answer - other).abs().max()))
