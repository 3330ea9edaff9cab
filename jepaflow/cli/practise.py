"""`jepaflow practise`: a trained run plans towards goals of its training episodes and records what it does."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from jepaflow.cli.evaluate import CPU_SOLVER
from jepaflow.common.console import console
from jepaflow.common.files import write_json
from jepaflow.evaluation.foresight import skill_sentence
from jepaflow.evaluation.planner import PlannerConfig
from jepaflow.evaluation.practise import PractiseConfig, practise
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import ControllerConfig
from jepaflow.planning.cost import CostConfig
from jepaflow.training.checkpoint import load_run


@dataclass(frozen=True)
class Args:
    """Record a planner's own attempts as a LeRobot dataset; run again to continue or to extend."""

    run: tyro.conf.Positional[Path]
    """Run folder of the model that plans."""
    output_dir: Path
    """Folder of the dataset."""
    env: str = "two_room"
    """World that the run's data was collected in."""
    episodes: int = 100
    """Attempts that the dataset shall have."""
    offset: int = 25
    """The goal lies this many control steps after the start in its training episode."""
    budget: int = 50
    """Control steps of an attempt."""
    seed: int = 0
    """Starts, goals and the solver's samples follow from it: take another for each round."""
    batch: int = 25
    """Attempts that are planned together."""
    solver: SolverConfig = field(default_factory=lambda: CPU_SOLVER)
    cost: CostConfig = field(default_factory=lambda: CostConfig(path=1.0))
    execute: int = 1
    """Blocks executed before planning anew."""
    proposals: tuple[Literal["inverse", "nearest"], ...] = ()
    """Ideas to begin each search with, as in jepaflow evaluate."""
    proposal_count: int = 8
    """Ideas per source."""
    distance: Literal["latent", "temporal"] = "latent"
    """Distance to the goal: latent, or the temporal-distance head's steps (jepaflow heads RUN)."""
    rate: float | None = 8.0
    """Rate limit: largest change of an action per control step, in deviations of the training data's; None: no limit."""
    device: str = "auto"
    """auto, cpu or cuda."""
    json: Path | None = None
    """Write the figures to this file."""


def run(args: Args) -> int:
    """Run the command; 0 when all attempts are recorded."""
    config = PractiseConfig(args.env, args.episodes, args.offset, args.budget, args.seed, args.batch)
    control = ControllerConfig(args.solver, args.cost, args.execute)
    settings = PlannerConfig(control, args.proposals, args.proposal_count, args.distance, args.rate)
    started = time.perf_counter()
    trained = load_run(args.run, args.device)
    found = practise(trained, args.output_dir, config, settings)
    seconds = time.perf_counter() - started
    console.print(f"{args.output_dir}: {found.episodes} episodes, {found.new} of them new, {seconds:.1f} s.")
    stores = trained.config["dataset"]["path"]
    if found.new:
        console.print(
            f"{found.reached} of {found.new} reached their goal (of training episodes: no figure to publish).\n"
            f"{skill_sentence(found.forecast)}\n"
            f"Next: jepaflow convert {args.output_dir} {args.output_dir}.h5 --image-size {trained.model.config.image_size}\n"
            f"Then: jepaflow train --dataset.path {' '.join(stores)} {args.output_dir}.h5 --init {args.run} "
            "--output-dir RUN, with the options of the model as before"
        )
    if args.json is not None:
        skill = [] if found.forecast is None else [one.as_dict() for one in found.forecast.skill]
        figures = {"episodes": found.episodes, "new_episodes": found.new, "reached": found.reached}
        write_json(args.json, {**figures, "skill": skill, "seconds": seconds})
    return 0
