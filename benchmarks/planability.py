"""What makes a world model better at being planned with? One change at a time, equal compute, several training seeds.

    python -m benchmarks.planability --data push.h5 --runs runs/planability --json results/planability.json

Every cell (variant, seed) trains a nano model on the same number of frames of the same episodes (encoding frames is
nearly all the work: a longer window means fewer optimizer steps), fits the heads, and lets
two planners attempt the same held-out trials: the inverse-dynamics head alone, and CEM over displacements with a path
cost. Figures of a cell are kept in its run folder, so an interrupted benchmark goes on where it stopped, and more seeds
may be added later; rows of other variants stay in the file. Rows ``planability/<protocol>/<variant>/<figure>``: success of
both planners (``inverse``, ``cem``, ever and ``_end``; Wilson interval over the trials of all seeds), ``skill@1`` and
``skill@5`` (held-out forecast skill; min to max over seeds) and ``minutes`` (of training, min to max). The floors are the
random and the do-nothing policy and CEM's first Gaussian without a model.
"""

import shlex
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from jepaflow.common.console import console
from jepaflow.common.files import read_json, write_json
from jepaflow.common.intervals import wilson
from jepaflow.common.results import Row, write_results
from jepaflow.diagnosis.forecast import cut_windows, measure_forecast
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.evaluation.closed_loop import evaluate_run, plan_trials
from jepaflow.evaluation.named import load_protocol
from jepaflow.evaluation.planner import PlannerConfig
from jepaflow.evaluation.trials import Trials
from jepaflow.planning.config import ControllerConfig, SolverConfig
from jepaflow.planning.cost import CostConfig
from jepaflow.training.checkpoint import Run, load_run
from jepaflow.training.config import DatasetConfig, OptimConfig, TrainConfig
from jepaflow.training.heads import HeadsConfig, train_heads
from jepaflow.training.latents import cached_latents
from jepaflow.training.objective import ObjectiveConfig
from jepaflow.training.trainer import train
from jepaflow.worldmodel.presets import PRESETS

# A preset of this benchmark alone: runs carry their sizes with them, so nothing else needs to know it.
PRESETS["nano_big_predictor"] = replace(PRESETS["nano"], predictor=PRESETS["paper"].predictor)

SEARCH = SolverConfig("cem", samples=48, elites=8, iterations=3, horizon=3, parameters="displace")
PLANNERS = {
    "inverse": PlannerConfig(
        ControllerConfig(SolverConfig("proposal", horizon=1, parameters="full")), ("inverse",), proposal_count=1
    ),
    "cem": PlannerConfig(ControllerConfig(SEARCH, CostConfig(path=0.5))),
}
OBJECTIVE = ObjectiveConfig(sigreg=0.05)


@dataclass(frozen=True)
class Variant:
    """One change to the plain model."""

    what: str
    config: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)


ALL = {"proprio": True, "cameras": ("pixels", "phone"), "action_change": True}
VARIANTS = {
    "plain": Variant("LeWM's objective, one camera, absolute actions"),
    "change": Variant("+ each action's change", {"action_change": True}),
    "proprio": Variant("+ observation.state as input", {"proprio": True}),
    "withheld": Variant(
        "+ observation.state, withheld from half the windows", {"proprio": True, "proprio_dropout": 0.5}
    ),
    "views": Variant("+ a second camera", {"cameras": ("pixels", "phone")}),
    "rollout": Variant("+ rollout loss over 3 steps", loss={"rollout": 0.5, "rollout_steps": 3}),
    "prefix": Variant("+ the same by action prefixes", {"prefix": 3}, {"rollout": 0.5, "rollout_steps": 3}),
    "inverse_loss": Variant("+ inverse-dynamics loss", loss={"inverse": 0.2}),
    "subspaces": Variant("SIGReg in 8 sub-spaces", loss={"subspaces": 8}),
    "grounding": Variant("+ observation.state as input and grounded in it", {"proprio": True}, {"grounding": 0.5}),
    "context": Variant("a context of 8, in which no imagined step is computed twice", {"history": 8}),
    "big_predictor": Variant("LeWM's predictor (6 layers, 16 heads of 64)", {"preset": "nano_big_predictor"}),
    "all": Variant(
        "change, proprio, views, rollout, inverse loss, grounding together", ALL,
        {"rollout": 0.5, "rollout_steps": 2, "inverse": 0.2, "grounding": 0.5},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Args:
    """Compare variants."""

    data: Path
    """store of the protocol's world, with a second camera `phone`"""
    runs: Path
    """folder for the cells' runs"""
    protocol: str = "so101/push_25"
    variants: tuple[str, ...] = tuple(VARIANTS)
    seeds: tuple[int, ...] = (0, 1, 2)
    frames: int = 48_000
    """frames that each cell is trained on, with repetition"""
    episodes: int = 300
    """training episodes"""
    trials: int = 105
    json: Path | None = None


def train_cell(args: Args, variant: Variant, seed: int, folder: Path) -> Run:
    """Train the model and its heads, unless they are there."""
    config = TrainConfig(
        DatasetConfig((args.data,), episodes=args.episodes), seed=seed, loss=replace(OBJECTIVE, **variant.loss),
        optim=OptimConfig(lr=1e-3), **variant.config,
    )  # fmt: skip
    steps = args.frames // (config.batch_size * config.frames)
    config = replace(config, steps=steps, save_every=steps, val_every=steps)
    begun = time.perf_counter()
    if not (folder / "checkpoints" / f"{steps:06d}").is_dir():
        train(config, folder, resume=True)
        write_json(folder / "minutes.json", (time.perf_counter() - begun) / 60)
    run = load_run(folder, "cpu")
    if not (folder / "heads.json").is_file():
        train_heads(run, HeadsConfig(steps=600, seed=seed), "benchmarks.planability")
    return run


def skills(run: Run, horizon: int = 5) -> list[float]:
    """Forecast skill on held-out episodes, 1 to `horizon` model steps ahead."""
    block = run.model.config.block
    parts = cached_latents(run)[1].model_steps(block)
    tracks = [Trajectory(i, 0, z, blocks) for i, (z, blocks) in enumerate(parts)]
    windows = cut_windows(tracks, run.model.config.history, horizon)
    assert windows is not None
    errors = measure_forecast(run.model, windows)
    found: list[float] = (1 - errors.model.sum(0) / errors.copy.sum(0)).tolist()
    return found


def measure_cell(args: Args, name: str, seed: int, trials: Trials) -> dict[str, Any]:
    """Return a cell's figures, measuring what is not known yet."""
    folder = args.runs / f"{name}-{seed}"
    record = folder / "cell.json"
    figures: dict[str, Any] = read_json(record) if record.is_file() else {}
    if {"skills", *PLANNERS} <= set(figures):
        return figures
    run = train_cell(args, VARIANTS[name], seed, folder)
    figures["minutes"] = read_json(folder / "minutes.json")
    figures.setdefault("skills", skills(run))
    for planner, settings in PLANNERS.items():
        if planner not in figures:
            seeded = replace(settings, control=replace(settings.control, seed=seed))
            outcome, _ = plan_trials(run, trials, seeded)
            figures[planner] = {"ever": int(outcome.ever.sum()), "end": int(outcome.end.sum()), "n": len(outcome)}
            write_json(record, figures)
    write_json(record, figures)
    return figures


def floors(args: Args, trials: Trials) -> dict[str, dict[str, float]]:
    """Success without a model, measured once, with any cell's run."""
    record = args.runs / "floors.json"
    if not record.is_file():
        run = load_run(next(args.runs.glob("*-*/config.json")).parent, "cpu")
        evaluation = evaluate_run(run, trials, PLANNERS["cem"])
        found = {
            which: {name: getattr(o, f"{which}_rate") for name, o in evaluation.floors.items()}
            for which in ("ever", "end")
        }
        write_json(record, found)
    known: dict[str, dict[str, float]] = read_json(record)
    return known


def rows_of(args: Args, name: str, cells: list[dict[str, Any]], floor: dict[str, dict[str, float]]) -> list[Row]:
    """Return a variant's rows."""
    stem = f"planability/{args.protocol.rpartition('/')[2]}/{name}"
    note = f"{VARIANTS[name].what}; nano, {args.frames} frames, {args.episodes} episodes"
    found = []
    for planner in PLANNERS:
        for which, ending in (("ever", ""), ("end", "_end")):
            hits, n = (sum(cell[planner][key] for cell in cells) for key in (which, "n"))
            low, high = wilson(hits, n)
            each = ", ".join(f"{cell[planner][which] / cell[planner]['n']:.2f}" for cell in cells)
            about = f"{note}; by seed: {each}"
            found.append(
                Row(f"{stem}/{planner}{ending}", hits / n, low, high, n, len(cells), floors=floor[which], note=about)
            )
    figures = {f"skill@{h}": [cell["skills"][h - 1] for cell in cells] for h in (1, 5)}
    figures["minutes"] = [cell["minutes"] for cell in cells]
    for figure, values in figures.items():
        unit = "minutes" if figure == "minutes" else "skill"
        known = {} if figure == "minutes" else {"copy_last": 0.0}
        mean = float(np.mean(values))
        about = f"{note}; low and high are the least and the greatest of the seeds"
        found.append(
            Row(f"{stem}/{figure}", mean, min(values), max(values), len(values), len(values), unit, known, note=about)
        )
    return found


def main(args: Args) -> None:
    """Measure the cells seed by seed, so that a benchmark cut short has compared all variants."""
    torch.set_num_threads(1)
    trials = load_protocol(args.protocol).first(args.trials)
    cells: dict[str, list[dict[str, Any]]] = {name: [] for name in args.variants}
    for seed in args.seeds:
        for name in args.variants:
            figures = measure_cell(args, name, seed, trials)
            cells[name].append(figures)
            told = {p: f"{figures[p]['ever'] / figures[p]['n']:.2f}" for p in PLANNERS}
            console.print(f"{name} {seed}: {told}, skill {figures['skills'][0]:.2f} … {figures['skills'][-1]:.2f}")
            if args.json is not None:
                floor = floors(args, trials)
                rows = [row for variant, own in cells.items() if own for row in rows_of(args, variant, own, floor)]
                command = shlex.join(["python", "-m", "benchmarks.planability", *sys.argv[1:]])
                write_results(args.json, command, rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
