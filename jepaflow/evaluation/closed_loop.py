"""One run's closed-loop evaluation: its model plans on its own held-out episodes, beside floors and ceiling.

The trials come from the run's validation split or from a named protocol, so no start or goal was trained on. Several
runs (training seeds of one setting) or evaluation seeds are pooled: their trials are added up.

The floor *unguided* is the planner without a model: one draw from its first Gaussian, executed in the same way. Where a
run has a behaviour clone of its size (`jepaflow heads RUN --clone`), that is a floor too. How well the model foretold
what its planner did is measured on the same trials (`foresight`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.data.store import Store
from jepaflow.evaluation.clone import ClonePolicy
from jepaflow.evaluation.foresight import Foresight, own_foresight, skill_rows
from jepaflow.evaluation.outcome import Outcome, pooled
from jepaflow.evaluation.planner import PlannerConfig, make_controller
from jepaflow.evaluation.run import PlannerPolicy, Policy, UnguidedPolicy, floors_and_ceiling, run_trials
from jepaflow.evaluation.trials import Trials
from jepaflow.planning.controller import Controller
from jepaflow.planning.monitor import tally
from jepaflow.sims.registry import World, WorldEntry, WorldOptions, find_world
from jepaflow.training.checkpoint import Run
from jepaflow.training.cloning import has_clone, load_clone


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
    foresight: tuple[Foresight, ...] = ()
    """How well the model foretold its planner's trials; empty where they are too short."""
    alarms: dict[str, int] | None = None
    """How often the monitor raised which alarm in the planner's trials; None: nobody watched."""


def evaluate_run(run: Run, trials: Trials, settings: PlannerConfig) -> Evaluation:
    """Evaluate one run on trials, beside floors and ceiling.

    Args:
        run: a trained run.
        trials: starts, goals, budget, of the world that the run's data was collected in.
        settings: the planner's; its seed is also the random floors'.

    Raises:
        JepaflowError: the run does not fit the world.
    """
    planner, controller = plan_trials(run, trials, settings)  # first: it says what is missing
    floors, ceilings = bounds(run, trials, controller, settings.control.seed)
    if has_clone(run.path):
        entry, size = world_of(run, trials.env), run.model.config.image_size
        clone = ClonePolicy(entry, load_clone(run.path), views_of(run, entry.make(size)))
        floors["clone"] = _run(entry, size, clone, trials, "behaviour clone")
    foresight = own_foresight(run.model, controller, str(run.path), trials.starts, trials.goals)
    return Evaluation(
        planner,
        trials.goals,
        floors,
        ceilings,
        trials.excluded,
        len(set(trials.episode.tolist())),
        foresight=() if foresight is None else (foresight,),
        alarms=tally(controller.verdicts) if settings.monitor else None,
    )


def bounds(
    run: Run, trials: Trials, controller: Controller, seed: int
) -> tuple[dict[str, Outcome], dict[str, Outcome]]:
    """Run the floors (random, random_hold, still, unguided) and the ceiling (replay); none of them asks the model.

    Args:
        run: whose world and blocks they act in.
        trials: what they attempt.
        controller: whose first Gaussian *unguided* draws from.
        seed: of the random ones.
    """
    entry, config = world_of(run, trials.env), run.model.config
    floors, ceilings = floors_and_ceiling(entry, trials, seed, config.block)
    guess = UnguidedPolicy(controller.planner.parameterisation, config.block, seed)
    floors["unguided"] = _run(entry, config.image_size, guess, trials, "unguided")
    return floors, ceilings


def plan_trials(run: Run, trials: Trials, settings: PlannerConfig) -> tuple[Outcome, Controller]:
    """Let a run's planner attempt the trials, without floors; also return the controller, which keeps count and remembers.

    Raises:
        JepaflowError: the run does not fit the world.
    """
    entry = world_of(run, trials.env)
    settings = replace(settings, control=replace(settings.control, remember=True))
    policy, controller = planner_policy(run, entry, settings)
    planner = _run(entry, run.model.config.image_size, policy, trials, f"plan ({run.path.name})")
    seconds = controller.plan_seconds / max(1, controller.plans) / len(planner)
    return replace(planner, seconds_per_plan=seconds), controller


def world_of(run: Run, env: str) -> WorldEntry:
    """Return the world with the cameras that the run's store has.

    Raises:
        JepaflowError: the model does not fit it.
    """
    entry = find_world(env)
    if entry.optional and run.store_path.is_file():
        entry = entry.bound(WorldOptions(cameras=Store(run.store_path).cameras))
    _check_fit(run, entry, env)
    return entry


def planner_policy(run: Run, entry: WorldEntry, settings: PlannerConfig) -> tuple[PlannerPolicy, Controller]:
    """Return the run's model as a policy."""
    size = run.model.config.image_size
    world = entry.make(size)
    controller = make_controller(run, world, settings)
    return PlannerPolicy(entry, size, controller, views_of(run, world)), controller


def views_of(run: Run, world: World) -> list[str]:
    """Return the observation's keys of the model's cameras, in its order."""
    return ["pixels" if name == world.cameras[0] else name for name in run.model.config.cameras]


def _run(entry: WorldEntry, image_size: int, policy: Policy, trials: Trials, phase: str) -> Outcome:
    return run_trials(entry, image_size, policy, trials.starts, trials.goals, trials.budget, phase, trials.by_task)


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
        tuple(one for e in evaluations for one in e.foresight),
        _summed([e.alarms for e in evaluations if e.alarms is not None]),
    )


def _summed(counts: Sequence[dict[str, int]]) -> dict[str, int] | None:
    """Add counts up; None for none."""
    names = [name for count in counts for name in count]
    return {name: sum(count.get(name, 0) for count in counts) for name in dict.fromkeys(names)} if counts else None


def result_rows(evaluation: Evaluation, name: str, trials: Trials) -> list[Row]:
    """Return the figures in the results' shape: ever within the budget, at its end, forecast skill under the planner.

    Args:
        evaluation: what came out.
        name: `two_room/success@25` gives that and `two_room/success_end@25`; `plan/push_25/cem` gives that and `..._end`;
            either is followed by `<name>_skill@1` and `<name>_skill@5`.
        trials: what it was run on.
    """
    note = (
        f"goal {trials.offset} control steps later, budget {trials.budget}; {trials.made_by}; {evaluation.already_solved} "
        f"already solved starts excluded; {evaluation.held_out} episodes; Wilson interval over trials"
    )
    rows = []
    for which in ("ever", "end"):
        low, high = getattr(evaluation.planner, f"{which}_interval")()
        before, at, after = name.partition("@")
        rows.append(
            Row(
                name=name if which == "ever" else f"{before}_end{at}{after}",
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
    return rows + skill_rows(evaluation.foresight, name)
