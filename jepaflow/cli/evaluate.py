"""`jepaflow evaluate`: a trained run plans in a world; success beside the floors and the ceiling."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro
from rich.table import Table

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import write_results
from jepaflow.evaluation.closed_loop import Evaluation, evaluate_run, pool, result_rows
from jepaflow.evaluation.outcome import Outcome
from jepaflow.evaluation.picture import draw_paths
from jepaflow.evaluation.protocol import ProtocolConfig
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import ControllerConfig
from jepaflow.planning.cost import CostConfig
from jepaflow.sims.registry import find_world
from jepaflow.training.checkpoint import load_run

CPU_SOLVER = SolverConfig(samples=48, elites=6, iterations=3, horizon=5, init_std=0.7, parameters="hold")
"""What two CPU cores can afford. Enough where a block's actions may be held (10 numbers to search) and the search is
warm-started every block; with the true dynamics instead of a model it loses nothing (tests/evaluation/test_run.py)."""


@dataclass(frozen=True)
class Args:
    """Plan towards goal pictures of held-out episodes and count successes."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders; several (training seeds of one setting) are pooled."""
    env: str = "two_room"
    """World that the runs' data was collected in."""
    episodes: int = 200
    """Starts per run."""
    seed: int = 0
    """Seed of the start list (of run i: seed + i) and of the solver."""
    offset: int = 25
    """The goal lies this many control steps after the start in its episode."""
    budget: int = 50
    """Control steps that the planner gets."""
    solver: SolverConfig = field(default_factory=lambda: CPU_SOLVER)
    cost: CostConfig = field(default_factory=lambda: CostConfig(path=1.0))
    execute: int = 1
    """Blocks executed before planning anew."""
    device: str = "auto"
    """auto, cpu or cuda."""
    picture: Path | None = None
    """Draw the first trials' paths into this PNG."""
    json: Path | None = None
    """Write the figures to this file, in the shape of `results/`."""


def run(args: Args) -> int:
    """Run the command; 0 when the evaluation was made, whatever it says."""
    if not args.runs:
        raise JepaflowError("there is no run to evaluate. Name at least one run folder.")
    protocol = ProtocolConfig(args.offset, args.budget, args.episodes, args.seed)
    settings = ControllerConfig(args.solver, args.cost, args.execute, seed=args.seed)
    evaluations = []
    for i, folder in enumerate(args.runs):
        trained = load_run(folder, args.device)
        own = replace(protocol, seed=args.seed + i)
        starts_file = folder / "evaluation" / f"starts-{args.env}-{args.offset}-seed{own.seed}.json"
        evaluations.append(evaluate_run(trained, args.env, own, replace(settings, seed=own.seed), starts_file))
    evaluation = pool(evaluations)
    _show(evaluation, args)
    if args.picture is not None:
        draw_paths(args.picture, find_world(args.env), evaluation.planner, evaluation.goals)
        console.print(f"Paths of the first trials: {args.picture}")
    if args.json is not None:
        command = shlex.join(["jepaflow", *sys.argv[1:]])
        write_results(args.json, command, result_rows(evaluation, args.env, protocol))
        console.print(f"Figures: {args.json}")
    return 0


def _show(evaluation: Evaluation, args: Args) -> None:
    """Print the table and one plain sentence."""
    table = Table(title=f"{args.env}: goal {args.offset} control steps away, budget {args.budget}")
    for heading in ("", "reached, %", "at the end, %", "distance", "n"):
        table.add_column(heading, justify="left" if heading == "" else "right", no_wrap=True)
    outcomes = {"plan": evaluation.planner, **evaluation.floors, **evaluation.ceilings}
    for name, outcome in outcomes.items():
        table.add_row(name, *_cells(outcome), style="bold" if name == "plan" else None)
    console.print(table)
    console.print("Reached: at any time (LeWM's rule). In brackets: 95 % Wilson interval. Distance: median at the end.")
    planner, best = evaluation.planner, max(floor.ever_rate for floor in evaluation.floors.values())
    low, high = planner.ever_interval()
    stands = "above" if low > best else ("below" if high < best else "not distinguishable from")
    console.print(
        f"Success {planner.ever_rate:.1%} (95 % interval {low:.1%} to {high:.1%}), "
        f"{stands} the best floor ({best:.1%}). "
        f"{evaluation.already_solved} already solved starts were excluded. "
        f"{1000 * planner.seconds_per_plan:.0f} ms per plan and world."
    )


def _cells(outcome: Outcome) -> tuple[str, ...]:
    """Return the table's cells of one outcome."""

    def rate(value: float, interval: tuple[float, float]) -> str:
        return f"{100 * value:.1f} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"

    middle = sorted(outcome.distance)[len(outcome) // 2]
    return (
        rate(outcome.ever_rate, outcome.ever_interval()),
        rate(outcome.end_rate, outcome.end_interval()),
        f"{middle:.1f}",
        str(len(outcome)),
    )
