"""Closed loop: does System 2 reach what a flat planner does not, and does it find another way when its own is blocked?

    python -m benchmarks.navigate runs/maze --protocol maze_far [--blocked] [--json results/system2.json]

All are System 1 (the inverse-dynamics head; `--search`: CEM) with or without sub-goals, on the same starts, budgets and
seeds, with the same random block after one that changed nothing (but ``flat_plain``). Executed control steps end when the
world first says success, or with the budget.

In a maze, wasted steps are those beyond the shortest way at full speed. ``--blocked``: two blocks after the plan was
made, the middle door of its route is shut (of Dijkstra's for those who make no plan); another way is always open, and
the shortest way knows of it. ``informed`` is the ceiling: Dijkstra that is told of the shut door.

Several runs are training seeds of one setting: values are means over them, intervals drawn over seeds and starts, and
each row has the suffix ``/seeds``.

Rows: ``far/<world>/<who>@<distance>``, ``far/<protocol>/<who>`` where the world's task is the judge, or
``blocked/<world>/<who>``, each also ``_executed`` and, in a maze, ``_wasted``; with `--search`, ``<who>_search``. Needs
`jepaflow subgoals fit RUN` (a maze: ``--avoid-from 4``).
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
from jaxtyping import Float

from benchmarks.navigating import FlatPolicy, InformedPolicy, NavigatingPolicy, Setup, set_up
from benchmarks.oracle_subgoals import demonstrations
from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row, write_results
from jepaflow.evaluation.named import load_protocol
from jepaflow.evaluation.run import Policy, RandomPolicy, ReplayPolicy, floors_and_ceiling, run_trials
from jepaflow.evaluation.trials import Trials
from jepaflow.sims.maze import MazeEnv, geodesic
from jepaflow.sims.registry import World

SHUT_AT = 10
"""control step after which the door is shut"""
BLOCKED_BUDGET = 1.5
"""times the protocol's budget"""
WHO = ("flat_plain", "flat", "dijkstra", "dijkstra_replan", "exact_replan", "gflownet_replan", "oracle")
BLOCKED = (*WHO[:-1], "informed")


@dataclass(frozen=True)
class Args:
    """Navigate a world."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run with heads and sub-goals, or several training seeds of it"""
    protocol: str = "maze_far"
    blocked: bool = False
    """shut a door on the way"""
    who: tuple[str, ...] = ()
    """whom to measure; also e.g. gflownet_replan_cost: walks ranked by their cost instead of by imagination"""
    search: bool = False
    """System 1 is CEM over held actions instead of the head"""
    label: str = ""
    """follows the name of who acts in the rows: another setting of the same world"""
    trials: int = 210
    seeds: int = 3
    """seeds of planners and random blocks, of each run"""
    json: Path | None = None

    def __post_init__(self) -> None:
        if self.trials < 1 or self.seeds < 1:
            raise JepaflowError("--trials and --seeds must be at least 1.")
        if not self.runs:
            raise JepaflowError("no run is named. Give a run folder with heads and sub-goals.")


class Watched:
    """Notes at which control step each world first says success.

    Args:
        policy: acts.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def begin(self, worlds: Sequence[World], goals: np.ndarray) -> None:
        """Begin to watch."""
        self.first = np.zeros(len(worlds), int)
        self.policy.begin(worlds, goals)

    def act(self, step: int, worlds: Sequence[World]) -> np.ndarray:
        """Look at what the last step did, and act."""
        if step > 0:
            there = np.array([world.is_success() for world in worlds])
            self.first = np.where((self.first == 0) & there, step, self.first)
        return self.policy.act(step, worlds)

    def executed(self, budget: int) -> np.ndarray:
        """Return control steps until the first success; the budget where it came with the last step, or never."""
        return np.where(self.first > 0, self.first, budget)


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
        """Shut the doors when it is time and nobody stands in them, and act."""
        if step >= SHUT_AT:
            assert self.doors is not None
            for world, door in zip(worlds, self.doors, strict=True):
                assert isinstance(world, MazeEnv)
                if door >= 0 and not world.shut_doors and not world.in_the_way(int(door)):
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


def rows_of(
    name: str,
    found: dict[str, Float[np.ndarray, "R S n"]],
    floors: dict[str, float],
    ceilings: dict[str, float],
    note: str,
) -> list[Row]:
    """Return success, executed and, where it is known, wasted steps of R runs, S seeds and n trials.

    Intervals are drawn over the starts; of several runs over runs and starts.
    """
    rows = []
    for suffix, values in found.items():
        each = values.mean(1)
        runs, n = each.shape
        if runs == 1:
            low, high = bootstrap(each[0], lambda x: float(x.mean()))
            tail, seeds = "", values.shape[1]
        else:
            low, high = crossed(each)
            tail, seeds = "/seeds", runs
            note += (
                "; success of each run: " + ", ".join(f"{value:.3g}" for value in each.mean(1)) if not suffix else ""
            )
        beside = (floors, ceilings) if not suffix else ({}, {})
        unit = "steps" if suffix else "fraction"
        rows.append(Row(name + suffix + tail, float(each.mean()), low, high, n, seeds, unit, *beside, note))
    return rows


def crossed(values: Float[np.ndarray, "R n"], draws: int = 1000) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean over runs that all had the same trials: both are drawn anew."""
    rng, (runs, n) = np.random.default_rng(0), values.shape
    means = [
        values[np.ix_(rng.integers(0, runs, runs), rng.integers(0, n, n))].mean()  #
        for _ in range(draws)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def blocked_floors(setup: Setup, trials: Trials, doors: np.ndarray, budget: int) -> dict[str, float]:
    """Return what random actions and standing still reach with the doors shut."""
    world, block = setup.entry.make(8), setup.run.model.config.block
    floors: dict[str, Policy] = {
        "random": RandomPolicy(world, 0),
        "random_hold": RandomPolicy(world, 0, block),
        "still": ReplayPolicy(trials.actions[:, :0]),
    }
    return {
        name: run_trials(setup.entry, 8, Blocked(policy, doors), trials.starts, trials.goals, budget, name).ever_rate
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


@dataclass(frozen=True, eq=False)
class Ground:
    """Where all act."""

    args: Args
    trials: Trials
    setups: Sequence[Setup]
    shut: Sequence[np.ndarray | None]
    """per run: doors that are shut for those who make no plan; None: doors stay open"""
    budget: int
    floors: dict[str, float]
    ceilings: dict[str, float]

    def name(self, who: str) -> str:
        """Return the row's name."""
        who += ("_search" if self.args.search else "") + self.args.label
        trials = self.trials
        if self.args.blocked:
            return f"blocked/{trials.env}/{who}"
        return f"far/{self.args.protocol}/{who}" if trials.by_task else f"far/{trials.env}/{who}@{trials.offset}"

    def once(self, who: str, run: int, seed: int) -> tuple[dict[str, np.ndarray], str]:
        """Let a policy attempt all trials; return success and steps of each, and a note."""
        setup, trials, shut = self.setups[run], self.trials, self.shut[run]
        policy: Policy = make(who, setup, trials, seed, shut)
        blocked = None
        if shut is not None:
            own = isinstance(policy, NavigatingPolicy) and not isinstance(policy, InformedPolicy)
            blocked = Blocked(policy, None if own else shut)
        watched, size = Watched(blocked or policy), setup.run.model.config.image_size
        outcome = run_trials(setup.entry, size, watched, trials.starts, trials.goals, self.budget, who, trials.by_task)
        steps, doors = watched.executed(self.budget), None if blocked is None else blocked.doors
        found = {"": outcome.ever.astype(float), "_executed": steps}
        world = setup.entry.make(8)
        if isinstance(world, MazeEnv):
            found["_wasted"] = steps - shortest(trials, doors, world)
        told = [policy.told()] if isinstance(policy, NavigatingPolicy) else []
        told += [f"{int((doors >= 0).sum())} of {len(trials)} have a door shut"] if doors is not None else []
        return found, ", ".join(told)


def ground(args: Args) -> Ground:
    """Load the runs and measure what floors and ceiling reach.

    Raises:
        JepaflowError: doors are to be shut where there are none.
    """
    trials = load_protocol(args.protocol).first(args.trials)
    setups = [set_up(run, trials.env, args.search) for run in args.runs]
    first = setups[0]
    if args.blocked and not isinstance(first.entry.make(8), MazeEnv):
        raise JepaflowError(f"{args.protocol} is no protocol of a maze, which has doors to shut. Leave --blocked out.")
    if not args.blocked:
        floors, ceilings = floors_and_ceiling(first.entry, trials, 0, first.block)
        rates = ({name: each.ever_rate for name, each in some.items()} for some in (floors, ceilings))
        return Ground(args, trials, setups, [None] * len(setups), trials.budget, *rates)
    budget = round(BLOCKED_BUDGET * trials.budget)
    shut = [setup.doors_of_dijkstra(trials) for setup in setups]
    return Ground(args, trials, setups, shut, budget, blocked_floors(first, trials, shut[0], budget), {})


def main(args: Args) -> None:
    """Measure and show."""
    here = ground(args)
    command = shlex.join(["python", "-m", "benchmarks.navigate", *sys.argv[1:]])
    for who in args.who or (BLOCKED if args.blocked else WHO):
        began, about, found = time.perf_counter(), f"budget {here.budget} control steps", []
        for run in range(len(args.runs)):
            for seed in range(args.seeds):
                each, told = here.once(who, run, seed)
                found.append(each)
                about += f"; run {run}, seed {seed}: {told}" if told else ""
        stacked = {
            key: np.stack([each[key] for each in found]).reshape(len(args.runs), args.seeds, -1) for key in found[0]
        }
        rows = rows_of(here.name(who), stacked, here.floors, here.ceilings, about)
        for row in rows:
            console.print(f"{row.name} {row.value:.3f} ({row.low:.3f} – {row.high:.3f}), {row.note}")
        console.print(f"{time.perf_counter() - began:.0f} s")
        if args.json is not None:
            write_results(args.json, command, rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
