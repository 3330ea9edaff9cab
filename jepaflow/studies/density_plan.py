"""How many episodes, how many steps, how many seeds: the grid of a density study, and one that fits a budget.

A budget is met by measuring: a short training tells what a step costs and what a run costs beside its steps. Then sizes are
given up first (from seven to four) and steps last, for a curve through models that have hardly begun to learn answers nothing.
"""

import math
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.data.split import split_episodes
from jepaflow.data.store import Store
from jepaflow.data.windows import window_starts
from jepaflow.studies.cells import Measure, with_steps
from jepaflow.studies.evidence import Evidence
from jepaflow.training.checkpoint import load_run
from jepaflow.training.config import TrainConfig
from jepaflow.training.trainer import train

SMALLEST, MOST_SIZES, LEAST_SIZES = 5, 7, 4
LEAST_STEPS, MOST_STEPS = 60, 4000
ROOM = 0.9
"""Share of the budget that is planned for: machines are not equally fast all the time."""
PROBE_STEPS = (2, 4, 36)
"""Of three short trainings; the first only warms up (code is loaded, the store is read from disk), and is not counted."""


@dataclass(frozen=True)
class Plan:
    """A grid: nested subsets of so many training episodes, each trained for ``steps``, with every seed."""

    sizes: tuple[int, ...]
    steps: int
    seeds: int

    def __post_init__(self) -> None:
        if len(self.sizes) < 3 or min(self.sizes) < 1 or list(self.sizes) != sorted(set(self.sizes)):
            raise JepaflowError("A density study needs at least three --sizes, each named once.")
        if self.steps < 1 or self.seeds < 1:
            raise JepaflowError("--steps and --seeds of a density study must be at least 1.")


@dataclass(frozen=True)
class Pace:
    """Seconds of a step, and of a run beside its steps (loading, measuring)."""

    step: float
    run: float


def training_episodes(config: TrainConfig) -> tuple[int, ...]:
    """Windows in the first 1, 2, … episodes of the nested order, for all training episodes.

    Raises:
        JepaflowError: as the split.
    """
    store, dataset = Store(config.dataset.path[0]), config.dataset
    counts = []
    every = split_episodes(store.num_episodes, dataset.val_fraction, dataset.split_seed, dataset.episodes).train
    for size in range(1, len(every) + 1):
        chosen = split_episodes(store.num_episodes, dataset.val_fraction, dataset.split_seed, size).train
        counts.append(len(window_starts(store, chosen, config.frames * config.block)))
    return tuple(counts)


def choose_sizes(windows: tuple[int, ...], count: int, batch: int) -> tuple[int, ...]:
    """So many sizes from 5 (or the first with a batch of windows) to all, evenly spaced in the logarithm.

    Raises:
        JepaflowError: when there are too few episodes for a curve.
    """
    every = len(windows)
    first = next((size for size, have in enumerate(windows, 1) if have >= batch), every)
    first = max(first, min(SMALLEST, every // 4))
    sizes = tuple(sorted({round(n) for n in np.geomspace(first, every, count)}))
    if len(sizes) < 3:
        raise JepaflowError(
            f"There are {every} training episodes, of which {first} are needed for one batch of {batch} windows: too few for a "
            "curve over their number. Give a smaller --batch-size, or record more."
        )
    return sizes


def epoch_steps(plan: Plan, windows: tuple[int, ...], size: int) -> int:
    """Steps in which a subset is seen as often as everything is in the plan's steps."""
    return max(1, round(plan.steps * windows[size - 1] / windows[plan.sizes[-1] - 1]))


def seconds_of(plan: Plan, windows: tuple[int, ...], pace: Pace) -> float:
    """What a plan costs, run by run."""
    short = [epoch_steps(plan, windows, size) for size in plan.sizes[:-1]]
    runs, steps = 2 * len(plan.sizes) - 1, plan.steps * len(plan.sizes) + sum(short)
    return plan.seeds * (runs * pace.run + steps * pace.step)


def fit_plan(windows: tuple[int, ...], batch: int, pace: Pace, budget: float, seeds: int) -> Plan:
    """The largest plan that fits a budget.

    Args:
        windows: of the first 1, 2, … training episodes.
        batch: windows in a step.
        pace: what things cost.
        budget: seconds.
        seeds: of each setting.

    Raises:
        JepaflowError: when even the smallest does not fit; the sentence says what would.
    """
    steps, plan = 0, None
    for count in range(MOST_SIZES, LEAST_SIZES - 1, -1):
        sizes = choose_sizes(windows, count, batch)
        one, two = (seconds_of(Plan(sizes, s, seeds), windows, pace) for s in (1000, 2000))
        fixed, each = 2 * one - two, (two - one) / 1000
        steps = min(MOST_STEPS, math.floor((ROOM * budget - fixed) / each))
        plan = Plan(sizes, max(1, steps), seeds)
        if steps >= 4 * LEAST_STEPS:
            break
    assert plan is not None
    if steps < LEAST_STEPS:
        need = seconds_of(replace(plan, steps=LEAST_STEPS), windows, pace) / ROOM / 60
        raise JepaflowError(
            f"--budget is too small: {len(plan.sizes)} sizes × {seeds} seeds × {LEAST_STEPS} steps take about {need:.0f} min here. "
            "Give more, fewer --seeds, a smaller --batch-size, or a faster machine."
        )
    return plan


def measure_pace(config: TrainConfig, measures: tuple[Measure, ...]) -> Pace:
    """Train a few steps, three times, and measure the last run; returns what a step and a run cost on this machine."""
    begun, took = time.perf_counter(), []
    console.print("Calibrating: three short trainings tell what a run costs here.")
    with tempfile.TemporaryDirectory() as folder:
        for steps in PROBE_STEPS:
            at, begin = Path(folder) / str(steps), time.perf_counter()
            train(with_steps(config, steps), at)
            took.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        evidence = Evidence(load_run(at, config.device))
        for measure in measures:
            measure(evidence)
        judged = time.perf_counter() - begin
    step, beside = pace_of(took)
    run = beside + judged
    console.print(
        f"A step takes {step:.2f} s, a run {run:.1f} s beside its steps ({time.perf_counter() - begun:.0f} s spent on knowing)."
    )
    return Pace(step, run)


def pace_of(took: Sequence[float]) -> tuple[float, float]:
    """Seconds of a step, and of a run beside its steps, from what the three trainings of `PROBE_STEPS` took.

    Noise may swallow the difference of the last two: a step is never said to cost less than half of what it costs when nothing
    but steps took time in the longest.
    """
    (_, few, many), (_, short, long) = PROBE_STEPS, took
    step = max((long - short) / (many - few), 0.5 * long / many)
    return step, max(0.0, min(long - many * step, short))


def parse_minutes(text: str) -> float:
    """``90s``, ``30m``, ``2h`` or a number of minutes, in seconds.

    Raises:
        JepaflowError: for anything else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not found or not float(found[1]) > 0:
        raise JepaflowError(f"--budget {text!r} is no duration. Say for example 90s, 30m or 2h.")
    return float(found[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0, "": 60.0}[found[2]]
