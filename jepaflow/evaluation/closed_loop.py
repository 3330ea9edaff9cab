"""One run's closed-loop evaluation: its model plans on its own held-out episodes, beside floors and ceiling.

The held-out episodes are the run's validation split, so no start or goal was trained on. Several runs (training seeds
of one setting) are pooled: each draws its own start list (protocol seed + position), trials are added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.data.store import Store
from jepaflow.evaluation.outcome import Outcome, pooled
from jepaflow.evaluation.protocol import ProtocolConfig, draw_starts
from jepaflow.evaluation.run import PlannerPolicy, already_solved, floors_and_ceiling, run_trials
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.space import ActionSpace
from jepaflow.sims.registry import WorldEntry, WorldOptions, action_bounds, find_world
from jepaflow.training.checkpoint import Run


@dataclass(frozen=True)
class Evaluation:
    """Outcomes of one or several runs: the planner's, the floors', the ceilings'."""

    planner: Outcome
    goals: Float[np.ndarray, "n d"]
    """Simulator states whose places are the goals."""
    floors: dict[str, Outcome]
    ceilings: dict[str, Outcome]
    already_solved: int
    held_out: int
    """Held-out episodes that the starts come from."""
    runs: int = 1


def evaluate_run(
    run: Run, env: str, protocol: ProtocolConfig, settings: ControllerConfig, starts_file: Path | None = None
) -> Evaluation:
    """Evaluate one run in a world.

    Args:
        run: a trained run.
        env: name of the world that its data was collected in.
        protocol: starts, goals, budget.
        settings: the planner's.
        starts_file: where to save the start list as JSON.

    Raises:
        JepaflowError: the run does not fit the world, or its held-out episodes offer too few starts.
    """
    entry, store = find_world(env), Store(run.store_path)
    if entry.optional:
        entry = entry.bound(WorldOptions(cameras=store.cameras))
    _check_fit(run, entry, env)
    world = entry.make(run.model.config.image_size)
    listed = draw_starts(store, run.val_episodes, protocol, already_solved(world))
    if starts_file is not None:
        listed.save(starts_file, protocol, store)
    floors, ceilings = floors_and_ceiling(entry, store, listed, protocol, run.model.config.block)
    low, high = (torch.from_numpy(bound) for bound in action_bounds(world))
    scaler = run.model.action_scaler
    space = ActionSpace.from_bounds(low, high, scaler.mean.cpu(), scaler.std.cpu())
    controller = Controller(run.model, space, settings)
    views = ["pixels" if name == store.cameras[0] else name for name in run.model.config.cameras]
    policy = PlannerPolicy(entry, run.model.config.image_size, controller, views)
    starts, goals = store.read("state", listed.rows), store.read("state", listed.goal_rows)
    planner = run_trials(
        entry, run.model.config.image_size, policy, starts, goals, protocol.budget, f"plan ({run.path.name})"
    )
    planner = replace(planner, seconds_per_plan=controller.plan_seconds / max(1, controller.plans) / len(planner))
    return Evaluation(planner, goals, floors, ceilings, listed.already_solved, len({s.episode for s in listed.starts}))


def _check_fit(run: Run, entry: WorldEntry, env: str) -> None:
    """Refuse a model that this world cannot feed."""
    config = run.model.config
    if len(config.cameras) > 1 and not entry.optional:
        raise JepaflowError(
            f"{run.path} looks through {len(config.cameras)} cameras, {env} has one. Train it with one camera."
        )
    if config.action_dim != len(entry.action_names):
        raise JepaflowError(
            f"{run.path} was trained on {config.action_dim} action dimensions, {env} has {len(entry.action_names)}. "
            "Evaluate it in the world that its data comes from."
        )


def pool(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Add up the trials of several runs."""
    first = evaluations[0]
    return Evaluation(
        pooled([e.planner for e in evaluations]),
        np.concatenate([e.goals for e in evaluations]),
        {name: pooled([e.floors[name] for e in evaluations]) for name in first.floors},
        {name: pooled([e.ceilings[name] for e in evaluations]) for name in first.ceilings},
        sum(e.already_solved for e in evaluations),
        max(e.held_out for e in evaluations),
        len(evaluations),
    )


def result_rows(evaluation: Evaluation, env: str, protocol: ProtocolConfig) -> list[Row]:
    """Return the figures in the results' shape: `<env>/success@<offset>` (ever) and `<env>/success_end@<offset>`."""
    note = (
        f"goal {protocol.offset} control steps later, budget {protocol.budget}; {evaluation.already_solved} already "
        f"solved starts excluded; {evaluation.held_out} held-out episodes; Wilson interval over trials, which share those episodes"
    )
    rows = []
    for suffix, which in (("success", "ever"), ("success_end", "end")):
        low, high = getattr(evaluation.planner, f"{which}_interval")()
        rows.append(
            Row(
                name=f"{env}/{suffix}@{protocol.offset}",
                value=getattr(evaluation.planner, f"{which}_rate"),
                low=low,
                high=high,
                n=len(evaluation.planner),
                seeds=evaluation.runs,
                unit="fraction",
                floors={name: getattr(outcome, f"{which}_rate") for name, outcome in evaluation.floors.items()},
                ceilings={name: getattr(outcome, f"{which}_rate") for name, outcome in evaluation.ceilings.items()},
                note=note,
            )
        )
    return rows
