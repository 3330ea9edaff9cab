"""The arms' scripted experts: how often the task is done when the episode is over.

    python -m benchmarks.experts [--json results/experts.json] [--only so101_stack] [--workers 2]

Rows: ``expert/<arm>_<task>``, with ``_noise`` behind it when Ornstein-Uhlenbeck noise of .01 rad is added to the targets,
``_spoilt`` when moreover four attempts in ten are spoilt on purpose, ``_wall``, ``_post`` or ``_both`` when those stand in
the way. Episode `i` is the world's reset with seed `i` and an expert with generator `i`; the experts were made on seeds
below 1000, so the rows begin there. An episode is over when the expert has
ended, or after twice the task's steps (where `collect` cuts it off), and half a second of holding still; only then is
success judged, so a cube must have come to rest, let go of. Floors: the same episodes for the task's steps with random
actions (uniform in the action box, each held for a sixth of a second) and without motion.
"""

import multiprocessing
import shlex
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro

from jepaflow.common.console import console
from jepaflow.common.results import Row, write_results
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.expert import ArmExpert, ArmExpertConfig
from jepaflow.sims.arms.tasks import TASKS

NOISE, SPOIL = 0.01, 0.4
REST = 15
"""Control steps of holding still before the judgement."""
HELD = 5
"""Control steps that a random action is held."""


@dataclass(frozen=True)
class Args:
    """Measure the arms' experts."""

    only: tuple[str, ...] = ()
    """rows to measure, by the beginnings of what follows expert/; all if left out"""
    episodes: int = 100
    """episodes of the SO-101 per row"""
    koch_episodes: int = 40
    first_seed: int = 1000
    """of a row's episodes; those below 1000 were looked at while the experts were made"""
    workers: int = 1
    """processes"""
    json: Path | None = None
    """rows that are not measured anew stay in this file"""


@dataclass(frozen=True)
class Case:
    """What one row measures."""

    name: str
    arm: str
    task: str
    config: ArmExpertConfig = field(default_factory=ArmExpertConfig)
    fix: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """One episode of the expert."""

    success: bool
    steps: int
    tries: int
    seconds: float


def cases(arms: tuple[str, ...] = ("so101", "koch")) -> Iterator[Case]:
    """Yield every row's case."""
    for arm in arms:
        for task in TASKS:
            yield Case(f"{arm}_{task}", arm, task)
            yield Case(f"{arm}_{task}_noise", arm, task, ArmExpertConfig(noise=NOISE))
            if task in ("lift", "pick_place", "sort", "stack"):
                spoilt = ArmExpertConfig(noise=NOISE, spoil=SPOIL)
                yield Case(f"{arm}_{task}_spoilt", arm, task, spoilt)
        for obstacle in ("wall", "post", "both"):
            yield Case(f"{arm}_pick_place_{obstacle}", arm, "pick_place", fix=(("obstacle", obstacle),))


def episode(case: Case, seed: int) -> Outcome:
    """Run one episode."""
    env = ArmEnv(case.arm, case.task, 8, fix=dict(case.fix))
    begun = time.perf_counter()
    env.reset(seed=seed)
    expert, steps = ArmExpert(env, np.random.default_rng(seed), case.config), 0
    while not expert.done and steps < 2 * env.rules.steps:
        env.advance(expert.act())
        steps += 1
    rest(env)
    return Outcome(env.is_success(), steps, expert.tries, time.perf_counter() - begun)


def floors(case: Case, seed: int) -> tuple[bool, bool]:
    """Run the same episode with random actions and without motion; return whether the task was done in the end."""
    env = ArmEnv(case.arm, case.task, 8, fix=dict(case.fix))
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for step in range(env.rules.steps):
        if step % HELD == 0:
            action = rng.uniform(env.low, env.high)
        env.advance(action)
    rest(env)
    random = env.is_success()
    env.reset(seed=seed)
    for _ in range(env.rules.steps):
        env.advance(env.still_action())
    return random, env.is_success()


def rest(env: ArmEnv) -> None:
    """Hold still."""
    for _ in range(REST):
        env.advance(env.still_action())


def summary(case: Case, outcomes: list[Outcome], floor: dict[str, float], first: int) -> Row:
    """Return the success rate with its Wilson interval (95 %)."""
    count, z = len(outcomes), 1.96
    p = sum(outcome.success for outcome in outcomes) / count
    middle, wide = p + z * z / 2 / count, z * np.sqrt(p * (1 - p) / count + z * z / 4 / count**2)
    low, high = (float((middle + sign * wide) / (1 + z * z / count)) for sign in (-1, 1))
    steps, tries, seconds = (
        float(np.mean([getattr(outcome, key) for outcome in outcomes])) for key in ("steps", "tries", "seconds")
    )
    failed = [seed for seed, outcome in enumerate(outcomes, first) if not outcome.success]
    note = f"mean {steps:.0f} control steps, {tries:.2f} tries at the last object, {seconds:.2f} s without pictures"
    return Row(
        f"expert/{case.name}",
        p,
        min(low, p),
        max(high, p),
        count,
        count,
        floors=floor,
        note=note + (f"; failed seeds {', '.join(map(str, failed))}" if failed else ""),
    )


def main(args: Args) -> None:
    """Measure the rows that were asked for; write after each, so that a long run loses nothing."""
    chosen = [case for case in cases() if not args.only or case.name.startswith(args.only)]
    command = shlex.join(["python", "-m", "benchmarks.experts", *sys.argv[1:]])
    rows: list[Row] = []
    known: dict[tuple[str, str, tuple[tuple[str, str], ...]], dict[str, float]] = {}
    with ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn")) as pool:
        for case in chosen:
            count = args.episodes if case.arm == "so101" else args.koch_episodes
            seeds = range(args.first_seed, args.first_seed + count)
            scene = (case.arm, case.task, case.fix)
            if scene not in known:
                found = list(pool.map(floors, [case] * count, seeds, chunksize=4))
                known[scene] = dict(zip(("random", "still"), np.mean(found, axis=0).tolist(), strict=True))
            outcomes = list(pool.map(episode, [case] * count, seeds, chunksize=4))
            rows.append(summary(case, outcomes, known[scene], args.first_seed))
            row = rows[-1]
            console.print(f"{row.name}: {row.value:.2f} ({row.low:.2f} – {row.high:.2f}); {row.floors}; {row.note}")
            if args.json is not None:
                write_results(args.json, command, rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
