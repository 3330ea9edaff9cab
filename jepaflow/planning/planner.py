"""From what is known (latents seen, blocks executed, a goal) to a plan: the world model and the cost become a `Problem`.

A plan may have to begin later than now: a robot that is executing one block while the next is searched has *committed*
to it. Committed blocks are imagined first, and the plan is searched and priced from there.

A JEPA imagines through an `Imaginer`, which computes what all candidates share once a plan; other dynamics are simply asked.

Legend: E environments, H frames of history, R rows, C committed blocks, N blocks, K control steps, P parameters per
block, A action size, D latent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from jepaflow.planning.config import SolverConfig
from jepaflow.planning.cost import Cost
from jepaflow.planning.goal import Goal
from jepaflow.planning.graphed import Graphed
from jepaflow.planning.problem import Generators, Problem
from jepaflow.planning.solvers import make_solver
from jepaflow.planning.space import ActionSpace, make_parameterisation
from jepaflow.training.device import choose_precision
from jepaflow.worldmodel.imagination import Imaginer
from jepaflow.worldmodel.jepa import JEPA

Imagine = Callable[[Int[Tensor, " R"], Float[Tensor, "R N K A"]], Float[Tensor, "R N D"]]
"""(whose situation, blocks) -> the latents after each block."""


@runtime_checkable
class Dynamics(Protocol):
    """What planning needs of a world model."""

    def rollout(
        self, z: Float[Tensor, "B H D"], past: Float[Tensor, "B P K A"], future: Float[Tensor, "B N K A"]
    ) -> Float[Tensor, "B N D"]:
        """Imagine N model steps."""
        ...


@runtime_checkable
class Timing(Protocol):
    """What a controller must know of a model's configuration (`JEPAConfig` has it)."""

    @property
    def block(self) -> int:
        """Return K, control steps per model step."""
        ...

    @property
    def history(self) -> int:
        """Return H, the model steps that the predictor sees."""
        ...

    @property
    def proprio_dim(self) -> int:
        """Return the size of the robot state that is an input, 0 for none."""
        ...


@runtime_checkable
class WorldModel(Dynamics, Protocol):
    """Encodes and imagines: a `JEPA` in eval mode, or known physics as a reference."""

    @property
    def config(self) -> Timing:
        """Return the model's sizes."""
        ...

    @property
    def device(self) -> torch.device:
        """Return where the weights are."""
        ...

    def encode(
        self, pixels: UInt8[Tensor, "B T V S S 3"], proprio: Float[Tensor, "B T P"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """Return one latent per frame."""
        ...


@dataclass(frozen=True)
class Situation:
    """What is known when a plan is made."""

    z: Float[Tensor, "E H D"]
    """Latents of the frames seen, oldest first."""
    past: Float[Tensor, "E H-1 K A"]
    """The blocks executed between them."""
    start: Float[Tensor, "E A"]
    """The action executed (or committed to) last before the plan begins."""
    goal: Goal
    committed: Float[Tensor, "E C K A"] | None = None
    """Blocks that will be executed before the plan begins."""


@runtime_checkable
class Proposer(Protocol):
    """Has ideas before any search."""

    def __call__(self, situation: Situation) -> Float[Tensor, "E M N P A"]:
        """Return M plans in the search's parameters, best first; M may be 0."""
        ...


@dataclass(frozen=True)
class Plan:
    """A plan for each environment."""

    blocks: Float[Tensor, "E N K A"]
    """Raw actions, inside bounds and rate limits."""
    params: Float[Tensor, "E N P A"]
    """The same in the search's parameters."""
    cost: Float[Tensor, " E"]
    mean: Float[Tensor, "E N P A"]
    """Where a warm start continues from."""
    iterations: int
    elites: Float[Tensor, "E Q N P A"]
    """What the next search should try again; Q may be 0."""


class Planner:
    """One model, one cost, one solver.

    Args:
        dynamics: the world model, in eval mode.
        cost: prices imagined latents and actions.
        space: bounds, rates, scales; on the model's device.
        block: K.
        config: the search.
    """

    def __init__(self, dynamics: Dynamics, cost: Cost, space: ActionSpace, block: int, config: SolverConfig) -> None:
        self.dynamics, self.cost, self.config = dynamics, cost, config
        self.parameterisation = make_parameterisation(config.parameters, space, block, config.knots)
        self.solver = make_solver(config)
        self._imaginer = None
        if isinstance(dynamics, JEPA) and dynamics.config.prefix == 1:
            precision, _ = choose_precision(config.precision, dynamics.device)
            self._imaginer = Imaginer(dynamics, bf16=precision == torch.bfloat16)

    @torch.no_grad()
    def plan(
        self,
        situation: Situation,
        generator: Generators,
        warm: Float[Tensor, "E N P A"] | None = None,
        proposals: Float[Tensor, "E M N P A"] | None = None,
        deadline: float | None = None,
    ) -> Plan:
        """Search a plan for each of E environments.

        Args:
            situation: what is known.
            generator: the only source of randomness, on the model's device; one for all, or one per environment.
            warm: where the search begins instead of the parameterisation's `rest`.
            proposals: candidates for the first iteration, best first.
            deadline: `time.perf_counter()` value after which no iteration should end.

        Raises:
            JepaflowError: every imagined plan of an environment costs NaN or infinity.
        """
        space, imagine = self.parameterisation, self._meet(situation)
        price: Callable[[Tensor], Tensor] = lambda parameters: self._price(situation, imagine, parameters)  # noqa: E731
        if self._imaginer is not None and situation.z.is_cuda and self.config.kind != "gradient":
            price = Graphed(price)
        shape = (len(situation.z), self.config.horizon, space.count, len(space.rest))
        problem = Problem(
            price,
            space.rest.expand(shape).clone() if warm is None else warm.clone(),
            (self.config.init_std * space.std).expand(shape),
            space.low,
            space.high,
            proposals,
        )
        found = self.solver.solve(problem, generator, deadline)
        params = found.params.detach()
        blocks = space.decode(params, situation.start)
        return Plan(blocks, params, found.cost.detach(), found.mean.detach(), found.iterations, found.elites)

    def price(self, situation: Situation, parameters: Float[Tensor, "E S N P A"]) -> Float[Tensor, "E S"]:
        """Imagine every candidate, a bounded number of rows at a time; what is not finite costs infinity."""
        return self._price(situation, self._meet(situation), parameters)

    def imagine(self, situation: Situation, blocks: Float[Tensor, "E N K A"]) -> Float[Tensor, "E N D"]:
        """Return the latents after each block of a plan."""
        return self._meet(situation)(torch.arange(len(blocks), device=blocks.device), blocks)

    def _price(self, situation: Situation, imagine: Imagine, parameters: Tensor) -> Tensor:
        envs, samples = parameters.shape[:2]
        flat = parameters.flatten(0, 1)
        owner = torch.arange(envs, device=flat.device).repeat_interleave(samples)
        parts = []
        for begin in range(0, len(owner), self.config.rows_per_call):
            rows = slice(begin, begin + self.config.rows_per_call)
            who = owner[rows]
            actions = self.parameterisation.decode(flat[rows], situation.start[who])
            parts.append(self.cost(imagine(who, actions), actions, situation.goal, who))
        return torch.cat(parts).nan_to_num(torch.inf, torch.inf, torch.inf).view(envs, samples)

    def _meet(self, situation: Situation) -> Imagine:
        """Return how plans are imagined in a situation: behind the blocks committed to, which all plans share."""
        z, past, committed = situation.z, situation.past, situation.committed
        if self._imaginer is not None:
            if committed is not None:
                z, past = torch.cat([z, self.dynamics.rollout(z, past, committed)], 1), torch.cat([past, committed], 1)
            return self._imaginer.meet(z, past).rollout
        if committed is None:
            return lambda who, blocks: self.dynamics.rollout(z[who], past[who], blocks)
        count = committed.shape[1]
        return lambda who, blocks: self.dynamics.rollout(z[who], past[who], torch.cat([committed[who], blocks], 1))[
            :, count:
        ]
