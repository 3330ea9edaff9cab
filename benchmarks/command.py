"""Closed loop of sentences: does what was asked come true, and does the robot know it?

    python -m benchmarks.command RUN --tasks so101/place so101/sort [--slip] [--json results/language.json]

For each trial a desk is laid (the trial's number is its seed), one of its cubes, the only one of its colour, and one of its bins
are drawn, and the sentence that names them is given to all; ``--wording test`` says it in unseen words, ``--clauses 2`` asks for a
second cube after the first, ``--clauses 0`` to sort them all by colour. All have the same desks, sentences and budgets, and the
simulator's truth judges (`evaluation.command_truth`): what was asked for holds when the budget is over. With ``--slip`` a cube loses
its grip once, in every second trial, as soon as somebody carries it.

- ``ours``: `jepaflow command` as it is (with ``_exact``, ``_dijkstra``: another planner; plain: the GFlowNet);
- ``once``: the same, but it believes after its first walk that all is done (the baseline that does not look);
- ``goal_image``: ours, shown instead of told: the final frame of the scripted expert, which did the sentence from the same start;
- ``walk_image``: the same graph, walked from landmark to landmark to that frame, without seer or doer;
- ``flat``, ``flat_cem``: System 1 alone (head, CEM) towards the landmark at which ours' first plan ends;
- ``clone``: behaviour cloning that reads the sentence (`TextPolicy`);
- floors: ``still``, ``random`` (held for a block); ceiling: ``expert``, the script itself.

Rows: ``command/<task>/<who>``, with ``_slip`` behind it where cubes slip; ``self_report/<task>/<who>`` is how often "I succeeded" or not
agrees with the simulator, refusals left out.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from jaxtyping import Bool, Float

from benchmarks.commanding import (
    Trial,
    Worker,
    draw_trials,
    make_worker,
    run_commands,
)
from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.intervals import bootstrap, wilson
from jepaflow.common.results import Row, write_results
from jepaflow.evaluation.commanded import Robot, load_knowledge, make_robot

WHO = ("ours", "once", "goal_image", "flat", "flat_cem")
FLOORS, CEILING = ("still", "random"), "expert"


@dataclass(frozen=True)
class Args:
    """Give sentences to a run in closed loop."""

    run: Annotated[Path, tyro.conf.Positional]
    """run with heads, sub-goals and language"""
    tasks: tuple[str, ...] = ("so101/place", "so101/sort")
    who: tuple[str, ...] = WHO
    trials: int = 40
    """desks of each task"""
    seeds: int = 1
    """seeds of planners and random actions"""
    clauses: Literal[0, 1, 2] = 1
    """things to do, one after the other; 0: every cube into the bin of its colour"""
    wording: Literal["plain", "train", "test"] = "plain"
    slip: bool = False
    """let a cube slip in every second trial"""
    budget: int | None = None
    """control steps; left out: one and a half times the task's own, for each clause"""
    first: int = 20_000
    """seed of the first desk: far from those that data were recorded on"""
    clone: Path | None = None
    """run with a text clone, for ``clone``; the run itself if not given"""
    batch: int = 40
    """worlds in step"""
    json: Path | None = None

    def __post_init__(self) -> None:
        if min(self.trials, self.seeds, self.batch) < 1 or self.first < 0 or not self.tasks:
            raise JepaflowError(
                "--trials, --seeds and --batch must be at least 1, --first not negative, and --tasks given."
            )


@dataclass(frozen=True, eq=False)
class Found:
    """What came of all trials, seeds first."""

    success: Bool[np.ndarray, "S n"]
    """when the budget was over"""
    ever: Bool[np.ndarray, "S n"]
    believed: Bool[np.ndarray, "S n"]
    refused: Bool[np.ndarray, "S n"]
    slipped: Bool[np.ndarray, "S n"]


def measure(args: Args, robot: Robot, trials: Sequence[Trial], who: str) -> Found:
    """Let one of them attempt all trials."""
    tables = []
    for seed in range(args.seeds):
        parts = []
        for begin in range(0, len(trials), args.batch):
            some = trials[begin : begin + args.batch]
            worker: Worker = make_worker(who, robot, some, seed, args.clone or args.run)
            parts.append(run_commands(robot, worker, some, who))
        tables.append(np.concatenate(parts, 1))
    return Found(*np.stack(tables, 1))


def interval(each: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Return the 95 % interval of a mean over desks: bootstrap, or Wilson's where all are alike and nothing can be drawn from them."""
    if np.ptp(each) > 0 or each[0] not in (0.0, 1.0):
        return bootstrap(each, lambda x: float(x.mean()))
    return wilson(round(float(each.sum())), len(each))


def rows_of(
    task: str, who: str, args: Args, found: Found, floors: dict[str, float], ceilings: dict[str, float]
) -> list[Row]:
    """Return success and agreement, with intervals drawn over trials."""
    tail = {0: "_all", 1: "", 2: "_2"}[args.clauses] + ("_slip" if args.slip else "")
    told = f"{args.trials} desks, {args.clauses} clause(s), {args.wording} wording; refused {found.refused.mean():.3f}"
    told += f"; a cube slipped in {found.slipped.mean():.2f}" if args.slip else ""
    each = found.success.mean(0)
    span = interval(each)
    note = f"{told}; believed {found.believed.mean():.3f}; done at any time {found.ever.mean():.3f}"
    rows = [
        Row(
            f"command/{task}/{who}{tail}",
            float(each.mean()),
            *span,
            len(each),
            args.seeds,
            "fraction",
            floors,
            ceilings,
            note,
        )
    ]
    answered = ~found.refused.any(0)
    if who.partition("_")[0] in ("ours", "once", "goal") and answered.any():
        agrees = (found.success == found.believed).mean(0)[answered]
        span = interval(agrees)
        share = float(found.success[:, answered].mean())
        bold = float((found.believed & ~found.success)[:, answered].mean())
        shy = float((~found.believed & found.success)[:, answered].mean())
        note = f"{told}; believes without success {bold:.3f}, succeeds without believing {shy:.3f}"
        always = {"always the likelier": max(share, 1 - share)}
        rows.append(
            Row(
                f"self_report/{task}/{who}{tail}",
                float(agrees.mean()),
                *span,
                len(agrees),
                args.seeds,
                "fraction",
                always,
                {},
                note,
            )
        )
    return rows


def main(args: Args) -> None:
    """Measure and show."""
    torch.set_num_threads(1)
    mind = load_knowledge(args.run)
    command = shlex.join(["python", "-m", "benchmarks.command", *sys.argv[1:]])
    for env in args.tasks:
        robot = make_robot(mind, env)
        trials = draw_trials(robot, args.trials, args.first, args.clauses, args.wording, args.slip, args.budget)
        rates = {who: float(measure(args, robot, trials, who).success.mean()) for who in (*FLOORS, CEILING)}
        ceilings = {CEILING: rates.pop(CEILING)}
        console.print(f"{env}: {rates}, {ceilings}")
        for who in args.who:
            began = time.perf_counter()
            rows = rows_of(env.rpartition("/")[2], who, args, measure(args, robot, trials, who), rates, ceilings)
            for row in rows:
                console.print(f"{row.name} {row.value:.3f} ({row.low:.3f} – {row.high:.3f}), {row.note}")
            console.print(f"{time.perf_counter() - began:.0f} s")
            if args.json is not None:
                write_results(args.json, command, rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
