"""`jepaflow evaluate`: a trained run plans in a world; success beside the floors and the ceiling."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import tyro
from rich.table import Table

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import write_results
from jepaflow.data.store import Store
from jepaflow.evaluation.closed_loop import Evaluation, evaluate_run, pool, result_rows
from jepaflow.evaluation.foresight import skill_sentence, summarise_foresight
from jepaflow.evaluation.named import load_protocol
from jepaflow.evaluation.outcome import Outcome
from jepaflow.evaluation.picture import draw_paths
from jepaflow.evaluation.planner import PlannerConfig
from jepaflow.evaluation.protocol import ProtocolConfig
from jepaflow.evaluation.run import already_solved
from jepaflow.evaluation.strip import gather_strips
from jepaflow.evaluation.strip_picture import check_strip, draw_strips
from jepaflow.evaluation.trials import Trials, held_out_trials
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import ControllerConfig
from jepaflow.planning.cost import CostConfig
from jepaflow.sims.registry import WorldOptions, find_world
from jepaflow.training.checkpoint import Run, load_run

CPU_SOLVER = SolverConfig(samples=48, elites=6, iterations=3, horizon=5, init_std=0.7, parameters="hold")
"""What two CPU cores can afford. Enough where a block's actions may be held (10 numbers to search) and the search is
warm-started every block; with the true dynamics instead of a model it loses nothing (tests/evaluation/test_run.py)."""


@dataclass(frozen=True)
class Args:
    """Plan towards goal pictures of held-out episodes and count successes."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders; several (training seeds of one setting) are pooled."""
    env: str = "two_room"
    """World that the runs' data was collected in; a protocol knows its own."""
    protocol: str | None = None
    """A named protocol (two_room_25, maze_far, so101/reach_25, so101/push_25, so101/pick_25, ...): trials that nobody trained on.
    Left out: the run's own held-out episodes."""
    fix: tuple[str, ...] = ()
    """Plan in another look of an arm's desk, goal pictures too: light.level=0.25 table.color=0.35,0.45,0.55 camera.laptop=0.03,0.02,0.02
    distractors=3 object.color=green ..."""
    seeds: int = 3
    """Evaluation seeds that share a named protocol's trials."""
    episodes: int | None = None
    """Starts per run; left out: 200, or all of a named protocol."""
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
    context: int | None = None
    """Frames of the past that plans begin with, at most; left out: the model's history."""
    deadline: str | None = None
    """Time per decision, all worlds together, e.g. 50ms or 0.2s: the best plan so far is taken then."""
    proposals: tuple[Literal["inverse", "nearest"], ...] = ()
    """Ideas to begin each search with: the inverse-dynamics head's (jepaflow heads RUN), training episodes' nearest chunks.
    With --solver.kind proposal the first idea is executed as it is."""
    proposal_count: int = 8
    """Ideas per source."""
    distance: Literal["latent", "temporal"] = "latent"
    """Distance to the goal: latent, or the temporal-distance head's steps (jepaflow heads RUN)."""
    rate: float | None = 8.0
    """Rate limit: largest change of an action per control step, in deviations of the training data's; None: no limit."""
    monitor: bool = False
    """Plan anew when the run's monitor raises an alarm, and say how many it raised (jepaflow monitor RUN)."""
    device: str = "auto"
    """auto, cpu or cuda."""
    picture: Path | None = None
    """Draw the first trials' paths into this PNG."""
    strip: Path | None = None
    """Draw goal, imagined and real pictures of the first run's and seed's first trials: a .png, or a film (.mp4)."""
    strip_trials: int = 3
    """How many trials; one that failed is among them if any did, and one that succeeded."""
    name: str | None = None
    """Name of the rows in the JSON, e.g. plan/push_25/icem."""
    keep: bool = False
    """Keep the rows of other names that the JSON file has already."""
    json: Path | None = None
    """Write the figures to this file, in the shape of `results/`."""


def run(args: Args) -> int:
    """Run the command; 0 when the evaluation was made, whatever it says."""
    if not args.runs:
        raise JepaflowError("there is no run to evaluate. Name at least one run folder.")
    if args.strip is not None:
        check_strip(args.strip, args.strip_trials)
    control = ControllerConfig(args.solver, args.cost, args.execute, args.context, deadline=_seconds(args.deadline))
    settings = PlannerConfig(control, args.proposals, args.proposal_count, args.distance, args.rate, args.monitor)
    evaluations, trials = [], None
    for i, folder in enumerate(args.runs):
        trained = load_run(folder, args.device)
        _check_looks(args, trained)
        for j, trials in enumerate(_trials(args, trained, i)):
            seeded = _seeded(settings, args.seed + i + j)
            evaluations.append(evaluate_run(trained, trials, seeded))
            if args.strip is not None and len(evaluations) == 1:
                _strip(args, trained, trials, evaluations[0], seeded)
    assert trials is not None
    evaluation = pool(evaluations)
    _show(evaluation, trials, args.fix)
    if args.picture is not None:
        draw_paths(args.picture, find_world(trials.env), evaluation.planner, evaluation.goals)
        console.print(f"Paths of the first trials: {args.picture}")
    if args.json is not None:
        command = shlex.join(["jepaflow", *sys.argv[1:]])
        write_results(args.json, command, result_rows(evaluation, args.name or _name(args, trials), trials), args.keep)
        console.print(f"Figures: {args.json}")
    return 0


def _check_looks(args: Args, trained: Run) -> None:
    """Refuse to move a camera that the model does not look through: nothing would change, and the figures' name would lie."""
    env = find_world(load_protocol(args.protocol).env if args.protocol is not None else args.env)
    moved = [name.partition(".")[2] for word in args.fix if (name := word.partition("=")[0]).startswith("camera.")]
    if not moved or not env.optional:
        return
    first = Store(trained.store_path).cameras[0] if trained.store_path.is_file() else WorldOptions().cameras[0]
    seen = [first if name == "pixels" else name for name in trained.model.config.cameras]
    for name in moved:
        if name not in seen:
            raise JepaflowError(
                f"{trained.path} looks through {', '.join(seen)}, not through {name}. Move one of those."
            )


def _strip(args: Args, trained: Run, trials: Trials, evaluation: Evaluation, settings: PlannerConfig) -> None:
    """Draw what was imagined beside what came."""
    assert args.strip is not None
    smooth = args.strip.suffix.lower() == ".mp4"
    strips = gather_strips(trained, trials, evaluation.planner, settings, args.strip_trials, smooth)
    draw_strips(args.strip, strips)
    console.print(f"Goal, imagined and real: {args.strip}. {strips.chosen} {strips.missing}")


def _seeded(settings: PlannerConfig, seed: int) -> PlannerConfig:
    return replace(settings, control=replace(settings.control, seed=seed))


def _trials(args: Args, trained: Run, index: int) -> list[Trials]:
    """Return the trials of each evaluation seed: shares of a named protocol, or one list from held-out episodes."""
    for name, value in (("seeds", args.seeds), ("episodes", args.episodes)):
        if value is not None and value < 1:
            raise JepaflowError(f"--{name} is {value}. Give at least 1.")
    if args.protocol is not None:
        named = load_protocol(args.protocol)
        named = named.first(args.episodes) if args.episodes is not None else named
        return [named.part(j, args.seeds).dressed(args.fix) for j in range(args.seeds)]
    seed = args.seed + index
    protocol = ProtocolConfig(args.offset, args.budget, args.episodes or 200, seed)
    world = find_world(args.env).make(8)
    listing = trained.path / "evaluation" / f"starts-{args.env.replace('/', '_')}-{args.offset}-seed{seed}.json"
    store = Store(trained.store_path)
    trials = held_out_trials(store, trained.val_episodes, args.env, protocol, already_solved(world), listing)
    return [trials.dressed(args.fix)]


def _name(args: Args, trials: Trials) -> str:
    """Return the rows' name where none is given."""
    if args.protocol is None:
        return "/".join([args.env, *args.fix, f"success@{args.offset}"])
    return "/".join(["plan", args.protocol.rpartition("/")[2], *args.fix, args.solver.kind])


def _seconds(text: str | None) -> float | None:
    """Return a time given as 50ms, 0.2s or 0.2 (seconds).

    Raises:
        JepaflowError: it is not a time.
    """
    if text is None:
        return None
    number, unit = (text[:-2], 1e-3) if text.endswith("ms") else (text.removesuffix("s"), 1.0)
    try:
        return float(number) * unit
    except ValueError:
        raise JepaflowError(f"--deadline {text} is not a time. Write it as 50ms or 0.2s.") from None


def _show(evaluation: Evaluation, trials: Trials, fix: Sequence[str] = ()) -> None:
    """Print the table and one plain sentence."""
    look = f"; {', '.join(fix)}" if fix else ""
    table = Table(title=f"{trials.env}: goal {trials.offset} control steps away, budget {trials.budget}{look}")
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
    console.print(skill_sentence(summarise_foresight(evaluation.foresight)))
    if evaluation.alarms is not None:
        said = ", ".join(f"{name} {count}" for name, count in evaluation.alarms.items()) or "none"
        console.print(
            f"Alarms after which it planned anew, in {len(planner)} trials: {said}. Their promised rate holds for the policy that "
            "the monitor was calibrated on, not for a planner."
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
