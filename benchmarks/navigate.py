"""Closed loop: does System 2 reach what a flat planner does not, and does it find another way when its own is blocked?

    python -m benchmarks.navigate runs/maze --protocol maze_far [--blocked] [--json results/system2.json]

All are System 1 (the inverse-dynamics head) with or without sub-goals, on the same starts, budgets and seeds, with the
same random block after one that changed nothing (but ``flat_plain``). ``--blocked``: two blocks after the plan was made,
the middle door of its route is shut (of Dijkstra's for those who make no plan); another way is always open. Executed
control steps end at the first arrival or with the budget; wasted ones are those beyond the shortest way at full speed,
which knows the shut door from the start.

``informed`` is the ceiling of the blocked protocol: Dijkstra that is told of the shut door.

Rows: ``far/maze/<who>@<distance>`` or ``blocked/maze/<who>``, each also ``_executed`` and ``_wasted``.
Needs `jepaflow subgoals fit RUN --avoid-from 4`.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from benchmarks.navigating import FlatPolicy, InformedPolicy, NavigatingPolicy, Setup, set_up
from benchmarks.oracle_subgoals import demonstrations
from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row, write_results
from jepaflow.evaluation.named import load_protocol
from jepaflow.evaluation.outcome import Outcome
from jepaflow.evaluation.run import Policy, RandomPolicy, ReplayPolicy, floors_and_ceiling, run_trials
from jepaflow.evaluation.trials import Trials
from jepaflow.sims.maze import MazeEnv, geodesic
from jepaflow.sims.registry import World

SHUT_AT = 10
"""control step after which the door is shut"""
BLOCKED_BUDGET = 300
WHO = ("flat_plain", "flat", "dijkstra", "dijkstra_replan", "exact_replan", "gflownet_replan", "oracle")
BLOCKED = (*WHO[:-1], "informed")


@dataclass(frozen=True)
class Args:
    """Navigate a maze."""

    run: Annotated[Path, tyro.conf.Positional]
    """run with heads and sub-goals"""
    protocol: str = "maze_far"
    blocked: bool = False
    """shut a door on the way"""
    who: tuple[str, ...] = ()
    """whom to measure; also e.g. gflownet_replan_cost: walks ranked by their cost instead of by imagination"""
    trials: int = 210
    seeds: int = 3
    json: Path | None = None

    def __post_init__(self) -> None:
        if self.trials < 1 or self.seeds < 1:
            raise JepaflowError("--trials and --seeds must be at least 1.")


class Blocked:
    """Shuts a door of each world some steps after planning.

    Args:
        policy: acts.
        doors: number of each world's door, -1 for none; asked for after planning.
    """

    def __init__(self, policy: Policy, doors: np.ndarray | None) -> None:
        self.policy, self.doors = policy, doors

    def begin(self, worlds: Sequence[World], goals: np.ndarray) -> None:
        """Plan with all doors open."""
        self.policy.begin(worlds, goals)
        if self.doors is None:
            assert isinstance(self.policy, NavigatingPolicy)
            self.doors = self.policy.doors(worlds)

    def act(self, step: int, worlds: Sequence[World]) -> np.ndarray:
        """Shut the doors when it is time, and act."""
        if step == SHUT_AT:
            assert self.doors is not None
            for world, door in zip(worlds, self.doors, strict=True):
                assert isinstance(world, MazeEnv)
                if door >= 0:
                    world.shut([int(door)])
        return self.policy.act(step, worlds)


def shortest(trials: Trials, doors: np.ndarray | None, world: MazeEnv) -> np.ndarray:
    """Return the control steps of each trial's shortest way."""
    one, other = trials.starts[:, :2].astype(float), trials.goals[:, :2].astype(float)
    found = np.empty(len(one))
    shut = np.full(len(one), -1) if doors is None else doors
    for door in np.unique(shut):
        mine = shut == door
        ways = geodesic(world.config, frozenset() if door < 0 else frozenset({int(door)}))
        found[mine] = np.maximum(ways.distance(one[mine], other[mine]) - world.config.success_distance, 0.0)
    return np.asarray(found / world.config.speed)


def executed(outcome: Outcome, trials: Trials, near: float) -> np.ndarray:
    """Return control steps until the first arrival, or the budget."""
    away = np.linalg.norm(outcome.states[:, 1:, :2] - trials.goals[:, None, :2], axis=-1)
    there = away < near
    return np.asarray(np.where(outcome.ever, 1 + there.argmax(1), there.shape[1]))


def rows_of(
    name: str,
    ever: np.ndarray,
    steps: np.ndarray,
    wasted: np.ndarray,
    floors: dict[str, float],
    ceilings: dict[str, float],
    note: str,
) -> list[Row]:
    """Return success, executed and wasted steps (seeds, trials), intervals by bootstrap over starts."""
    rows = []
    for suffix, values, unit in (("", ever, "fraction"), ("_executed", steps, "steps"), ("_wasted", wasted, "steps")):
        each = values.mean(0)
        low, high = bootstrap(each, lambda x: float(x.mean()))
        beside = (floors, ceilings) if not suffix else ({}, {})
        rows.append(Row(name + suffix, float(each.mean()), low, high, each.size, len(values), unit, *beside, note))
    return rows


def blocked_floors(setup: Setup, trials: Trials, doors: np.ndarray) -> dict[str, float]:
    """Return what random actions and standing still reach with the doors shut."""
    world, block = setup.entry.make(8), setup.run.model.config.block
    floors: dict[str, Policy] = {
        "random": RandomPolicy(world, 0),
        "random_hold": RandomPolicy(world, 0, block),
        "still": ReplayPolicy(trials.actions[:, :0]),
    }
    return {
        name: run_trials(
            setup.entry, 8, Blocked(policy, doors), trials.starts, trials.goals, BLOCKED_BUDGET, name
        ).ever_rate
        for name, policy in floors.items()
    }


def make(who: str, setup: Setup, trials: Trials, seed: int, shut: np.ndarray | None) -> Policy:
    """Return a policy by its name; ``shut``: doors that are shut on Dijkstra's routes, if any."""
    if who == "informed":
        return InformedPolicy(setup, seed, trials, np.full(len(trials), -1) if shut is None else shut)
    if who == "flat_plain":
        return FlatPolicy(setup, seed, loose=False)
    if who == "flat":
        return FlatPolicy(setup, seed)
    if who == "oracle":
        return FlatPolicy(setup, seed, frames=demonstrations(setup.run, setup.entry, setup.controller, trials, 2))
    planner, _, rest = who.partition("_")
    return NavigatingPolicy(setup, planner, seed, replan="replan" in rest, imagine="cost" not in rest)


def main(args: Args) -> None:
    """Measure and show."""
    trials = load_protocol(args.protocol).first(args.trials)
    setup = set_up(args.run, trials.env)
    world = setup.entry.make(8)
    if not isinstance(world, MazeEnv):
        raise JepaflowError(f"{args.protocol} is no protocol of the maze. Choose maze_25, maze_50 or maze_far.")
    budget = BLOCKED_BUDGET if args.blocked else trials.budget
    floors, ceilings = floors_and_ceiling(setup.entry, trials, 0, setup.run.model.config.block)
    floor = {name: each.ever_rate for name, each in floors.items()}
    ceiling = {name: each.ever_rate for name, each in ceilings.items()}
    others = None
    if args.blocked:
        others = setup.doors_of_dijkstra(trials)
        floor, ceiling = blocked_floors(setup, trials, others), {}
    command = shlex.join(["python", "-m", "benchmarks.navigate", *sys.argv[1:]])
    for who in args.who or (BLOCKED if args.blocked else WHO):
        began, runs, notes = time.perf_counter(), [], []
        for seed in range(args.seeds):
            policy: Policy = make(who, setup, trials, seed, others)
            inner = policy
            if args.blocked:
                own = isinstance(policy, NavigatingPolicy) and not isinstance(policy, InformedPolicy)
                policy = Blocked(policy, None if own else others)
            outcome = run_trials(
                setup.entry, setup.run.model.config.image_size, policy, trials.starts, trials.goals, budget, who
            )
            doors = policy.doors if isinstance(policy, Blocked) else None
            steps = executed(outcome, trials, world.config.success_distance)
            runs.append((outcome.ever.astype(float), steps, steps - shortest(trials, doors, world)))
            if isinstance(inner, NavigatingPolicy):
                notes.append(inner.told())
        name = f"blocked/maze/{who}" if args.blocked else f"far/maze/{who}@{trials.offset}"
        about = f"budget {budget} control steps"
        about += f"; {int((doors >= 0).sum())} of {len(trials)} have a door shut" if doors is not None else ""
        about += "".join(f"; seed {seed}: {note}" for seed, note in enumerate(notes))
        ever, steps, wasted = (np.stack(each) for each in zip(*runs, strict=True))
        rows = rows_of(name, ever, steps, wasted, floor, ceiling, about)
        for row in rows:
            console.print(f"{row.name} {row.value:.3f} ({row.low:.3f} – {row.high:.3f}), {row.note}")
        console.print(f"{time.perf_counter() - began:.0f} s")
        if args.json is not None:
            write_results(args.json, command, rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
