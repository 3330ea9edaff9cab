"""The picture of a plan: goal | imagined | real, for a few trials; as one PNG (a column per look) or as a film.

*Imagined* is what the model foresees from the first look alone: it plans, imagines its plan to the horizon, plans on
from that imagined end, and so on (`Controller.dream`); up to the first horizon that is the very plan that was executed
first. Nothing that came later enters it, while the real trial looked again before every plan. The number is the distance
between the imagined and the real frame's latent, as a share of the root mean square distance between two recorded
frames drawn at random. It counts everything that makes the two differ: the model's errors, and that the real trial
acted otherwise once it had looked again.

A latent is no picture. Without a decoder the recorded training frame whose latent is nearest stands for it; how far
that frame is from what was imagined is told too. Real frames are rendered again from the states that the trial ran
through, so that any evaluation can be drawn afterwards. Drawing is `strip_picture`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8

from jepaflow.common.errors import JepaflowError
from jepaflow.evaluation.closed_loop import planner_policy, world_of
from jepaflow.evaluation.outcome import Outcome
from jepaflow.evaluation.planner import PlannerConfig
from jepaflow.evaluation.run import PlannerPolicy
from jepaflow.evaluation.trials import Trials
from jepaflow.sims.registry import World, WorldEntry
from jepaflow.training.checkpoint import Run
from jepaflow.training.decoder_figures import nearest
from jepaflow.training.latents import cached_latents


@dataclass(frozen=True)
class Imagined:
    """What was foreseen in one trial, at each of J looks; the first is what was really seen."""

    frames: UInt8[np.ndarray, "J S S 3"]
    """The recorded frames nearest to the imagined latents."""
    error: Float[np.ndarray, " J"]
    """Distance of the imagined latents from the real ones; 1: as two recorded frames drawn at random. 0 at the first."""
    gap: Float[np.ndarray, " J"]
    """Distance of the imagined latents from those of the frames shown, in the same unit."""


@dataclass(frozen=True)
class Strip:
    """One trial of L - 1 control steps."""

    number: int
    """Its place in the list of trials, from 1."""
    goal: UInt8[np.ndarray, "S S 3"]
    real: UInt8[np.ndarray, "L S S 3"]
    """What the model's first camera shows at the start and after each control step."""
    reached: Bool[np.ndarray, " L"]
    """Whether the goal counts as reached then."""
    distance: Float[np.ndarray, " L"]
    """To the goal, in `Strips.unit`."""
    imagined: Imagined | None


@dataclass(frozen=True)
class Strips:
    """The trials shown and what there is to say about all."""

    trials: tuple[Strip, ...]
    title: str
    chosen: str
    """Which trials these are, of how many."""
    missing: str
    """Why nothing imagined is shown; "" if it is."""
    fps: float
    block: int
    horizon: int
    execute: int
    unit: str


def gather_strips(
    run: Run, trials: Trials, outcome: Outcome, settings: PlannerConfig, count: int = 3, smooth: bool = False
) -> Strips:
    """Collect what was real, and dream what was imagined, of a few trials.

    Args:
        run: the run that attempted the trials.
        trials: all trials of one evaluation.
        outcome: what came of them.
        settings: the planner's, as in that evaluation: the dream's first plan is then the trial's.
        count: trials to show, at least 1.
        smooth: render every control step, not the looks alone (the frames between are then the look's before).

    Raises:
        JepaflowError: the run does not fit the world.
    """
    config, entry = run.model.config, world_of(run, trials.env)
    policy, _ = planner_policy(run, entry, settings)
    chosen, why = choose(outcome.ever, count)
    worlds = [entry.make(config.image_size) for _ in chosen]
    _put(worlds, trials.goals[chosen])
    goal = policy.look(worlds)[0][:, 0]
    real, latents = _replay(policy, worlds, outcome.states[chosen], trials.goals[chosen], config.block, smooth)
    imagined, missing = _imagined(run, entry, policy, trials, chosen, latents)
    unit, scale = _unit(entry)
    strips = []
    for i, number in enumerate(chosen.tolist()):
        reached, distance = _progress(worlds[i], outcome.states[number], trials.goals[number])
        mine = imagined[i] if imagined else None
        strips.append(Strip(number + 1, goal[i], real[i], reached, scale * distance, mine))
    control = settings.control
    return Strips(
        tuple(strips), f"{trials.env}, planned by {run.path.name}", why, missing,
        worlds[0].fps, config.block, control.solver.horizon, control.execute, unit,
    )  # fmt: skip


def choose(ever: Bool[np.ndarray, " n"], count: int) -> tuple[Int[np.ndarray, " m"], str]:
    """Return the first trials, and which they are in words; all of one kind, the last gives way to the other kind's first."""
    chosen = np.arange(min(count, len(ever)))
    head = f"{int(ever.sum())} of {len(ever)} trials reached their goal; shown: "
    others = np.flatnonzero(ever != ever[0])
    if len(chosen) > 1 and len(others) and others[0] > chosen[-1]:
        chosen[-1] = others[0]
        kind = "reached it" if ever[others[0]] else "missed it"
        first = "the first" if len(chosen) == 2 else f"the first {len(chosen) - 1}"
        return chosen, f"{head}{first}, and the first one that {kind}."
    return chosen, head + ("all." if len(chosen) == len(ever) else f"the first{'' if count == 1 else f' {count}'}.")


def _put(worlds: list[World], states: np.ndarray, goals: np.ndarray | None = None) -> None:
    """Put worlds into states (m, d), the goal after that, as trials do: a state may hold a goal of its own."""
    for i, world in enumerate(worlds):
        world.set_state(states[i])
        if goals is not None:
            world.set_goal(goals[i])


def _replay(
    policy: PlannerPolicy, worlds: list[World], states: np.ndarray, goals: np.ndarray, block: int, smooth: bool
) -> tuple[UInt8[np.ndarray, "m L S S 3"], Float32[np.ndarray, "m J D"]]:
    """Return what the first camera saw after each control step, and the latents of the looks."""
    frames, latents = [], []
    for step in range(states.shape[1]):
        if smooth or step % block == 0:
            _put(worlds, states[:, step], goals)
            pictures, _, z = policy.look(worlds)
        frames.append(pictures[:, 0])
        if step % block == 0:
            latents.append(z)
    return np.stack(frames, 1), np.stack(latents, 1)


def _imagined(
    run: Run, entry: WorldEntry, policy: PlannerPolicy, trials: Trials, chosen: np.ndarray, seen: np.ndarray
) -> tuple[list[Imagined], str]:
    """Return what was foreseen in the chosen trials, whose looks' latents were `seen` (m, J, D), or why nothing is."""
    try:
        memory = cached_latents(run)[0]
    except JepaflowError as why:
        return [], f"The imagined row is left out, since the frames to show are not at hand. {why}"
    worlds = [entry.make(run.model.config.image_size) for _ in trials.starts]
    _put(worlds, trials.starts, trials.goals)
    policy.begin(worlds, trials.goals)  # all trials, as in the evaluation: a search then draws the same numbers
    foreseen = seen.copy()
    if seen.shape[1] > 1:
        foreseen[:, 1:] = policy.dream(worlds, seen.shape[1] - 1)[chosen]
    spread = float(2.0 * memory.z.var(0).mean()) or 1.0
    error = np.sqrt(np.square(foreseen - seen).mean(-1) / spread)
    rows, gap = nearest(memory.z, torch.from_numpy(foreseen).flatten(0, 1))
    frames = memory.corpus.frames(rows, run.model.config.cameras[:1])[:, 0].reshape(*error.shape, *_shape(run))
    return [Imagined(*both) for both in zip(frames, error, np.sqrt(gap.reshape(error.shape) / spread), strict=True)], ""


def _shape(run: Run) -> tuple[int, int, int]:
    return (run.model.config.image_size, run.model.config.image_size, 3)


def _progress(
    world: World, states: Float[np.ndarray, "L d"], goal: Float[np.ndarray, " d"]
) -> tuple[Bool[np.ndarray, " L"], Float[np.ndarray, " L"]]:
    """Return whether the goal is reached in each state, and the distance to it."""
    reached, distance = [], []
    for state in states:
        _put([world], state[None], goal[None])
        reached.append(world.is_success())
        distance.append(world.distance())
    return np.array(reached, dtype=bool), np.array(distance, dtype=np.float64)


def _unit(entry: WorldEntry) -> tuple[str, float]:
    """Return the unit of distances for people, and what turns the world's own into it: lengths come first in its states."""
    unit = entry.state_unit.removeprefix("SI: ").split(",")[0]
    return ("cm", 100.0) if unit == "m" else (unit, 1.0)
