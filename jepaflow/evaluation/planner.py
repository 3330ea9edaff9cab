"""From a run and a few words to its planner: the space of its actions, its heads' ideas, its cost.

`PlannerConfig` is what `jepaflow evaluate` takes. What a run can offer beyond its model lies in its folder: heads
(`jepaflow heads RUN`) and the latents of its training episodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.cost import Cost, make_cost
from jepaflow.planning.monitor_file import load_monitor
from jepaflow.planning.planner import Proposer
from jepaflow.planning.proposals import AllProposals, ChunkIndex, InverseProposals, NearestChunks
from jepaflow.planning.space import ActionSpace, Parameterisation, make_parameterisation
from jepaflow.sims.registry import World, action_bounds
from jepaflow.training.checkpoint import Run
from jepaflow.training.heads import Heads, load_heads
from jepaflow.training.latents import cached_latents

HASTE = 0.35
"""Share of the expected steps to the goal that the inverse head is told it has: data are never in a hurry, a planner is.
Chosen on the training collection's held-out episodes of so101/reach; half, the first value tried, was too slow for far goals."""

HOLD = 0.6
"""Model steps to the goal (expected ones) below which the inverse head's proposals hold still: what follows a goal in the data
is not staying there. Chosen on held-out episodes of the collections (ever, at the end): so101/pick_place, 60 trials,
without 88, 50 %; 0.6: 88, 77; 1: 87, 80; 2: 58, 52; so101/reach, 90 trials, without 99, 94 %; 0.6: 98, 94; 0.8: 94, 92."""


@dataclass(frozen=True)
class PlannerConfig:
    """The controller, and where its ideas and its distance come from."""

    control: ControllerConfig = field(default_factory=ControllerConfig)
    proposals: tuple[Literal["inverse", "nearest"], ...] = ()
    """Candidates of every search's first iteration: the inverse-dynamics head's, training episodes' nearest chunks."""
    proposal_count: int = 8
    """Candidates per source."""
    distance: Literal["latent", "temporal"] = "latent"
    """What a plan's distance to the goal is: mean squared latent difference, or the temporal-distance head's steps."""
    rate: float | None = 8.0
    """Rate limit: the largest change of an action from one control step to the next, in standard deviations of the
    training data's (of a model that knows them: `jepaflow train --action-change`). In a collection of so101/push 99.9 %
    of the joints' changes lie below 6 of them, of the gripper's below 9. None: none."""
    monitor: bool = False
    """Plan anew when the run's monitor raises an alarm (jepaflow monitor RUN)."""

    def __post_init__(self) -> None:
        """Refuse a limit that lets nothing move."""
        if self.rate is not None and not self.rate > 0.0:
            raise JepaflowError(f"a rate limit of {self.rate:g} lets nothing move. Give a number above 0.")


def run_space(run: Run, world: World, rate: float | None = None) -> ActionSpace:
    """Return the world's action box with the run's statistics; `rate` as in `PlannerConfig`."""
    low, high = (torch.from_numpy(bound) for bound in action_bounds(world))
    scaler = run.model.action_scaler
    change = run.model.change_scaler.std.cpu() if run.model.config.action_change else None
    limit = None if rate is None or change is None else rate * change
    return ActionSpace.from_bounds(low, high, scaler.mean.cpu(), scaler.std.cpu(), limit, change)


def make_controller(run: Run, world: World, config: PlannerConfig) -> Controller:
    """Return a controller of the run's model in a world.

    Raises:
        JepaflowError: the run has no heads, monitor, or training episodes at hand, and the configuration asks for them.
    """
    space, control = run_space(run, world, config.rate), config.control
    solver = control.solver
    parameterisation = make_parameterisation(
        solver.parameters, space.to(run.model.device), run.model.config.block, solver.knots
    )
    needed = "inverse" in config.proposals or config.distance == "temporal"
    heads = load_heads(run.path, run.model.device) if needed else None
    cost: Cost | None = None
    if config.distance == "temporal" and heads is not None:
        cost = make_cost(control.cost, space.to(run.model.device), heads.distance)
    monitor = load_monitor(run) if config.monitor else None
    return Controller(run.model, space, control, cost, _proposer(run, config, parameterisation, heads), monitor)


def _proposer(
    run: Run, config: PlannerConfig, parameterisation: Parameterisation, heads: Heads | None
) -> Proposer | None:
    horizon, found = config.control.solver.horizon, []
    makers: dict[str, Callable[[], Any]] = {
        "inverse": lambda: InverseProposals(
            heads.inverse.propose,  # type: ignore[union-attr]
            parameterisation,
            horizon,
            config.proposal_count,
            lambda a, b: HASTE * heads.distance(a, b),  # type: ignore[union-attr]
            run.model,
            config.control.seed,
            HASTE * HOLD,  # it is the hurried distance that is compared
            None if heads.inverse.config.change else heads.inverse.rest,  # type: ignore[union-attr]
        ),
        "nearest": lambda: NearestChunks(
            ChunkIndex(cached_latents(run)[0].model_steps(run.model.config.block), horizon),
            parameterisation,
            config.proposal_count,
        ),
    }
    for name in config.proposals:
        found.append(makers[name]())
    return AllProposals(found) if found else None
