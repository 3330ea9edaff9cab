"""``jepaflow study tension|horizon``: whole experiments, trained and measured many times, resumable, drawn and written down."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row, write_results
from jepaflow.studies.cells import Study
from jepaflow.training.config import TrainConfig


@dataclass(frozen=True)
class Common:
    """What all studies take."""

    output_dir: Path
    """folder of the study; run again, it takes the cells that are there and goes on with the rest"""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    seeds: int = 3
    """trainings of each setting; their seeds count from --seed"""
    frames: int = 48_000
    """frames that each cell is trained on, with repetition: it sets the optimizer steps"""
    json: Path | None = None
    """write the rows to this file; its other rows stay"""
    report: Path | None = None
    """draw the figure into this PNG"""

    def __post_init__(self) -> None:
        if self.train.steps != TrainConfig().steps:
            raise JepaflowError("A study's steps follow from --frames. Leave --steps out.")
        if len(self.train.dataset.path) != 1:
            raise JepaflowError("A study needs one store: --dataset.path X.h5 (made by jepaflow convert).")


@dataclass(frozen=True)
class Tension(Common):
    """Sweep SIGReg's weight: prediction skill against Gaussianity, effective rank and what can be read, the knee marked."""

    lambdas: tuple[float, ...] = (0.0, 0.01, 0.05, 0.2, 0.8)
    """weights of SIGReg"""


@dataclass(frozen=True)
class Horizon(Common):
    """Skill far ahead, open loop, and what a rollout loss and a longer history buy at equal frames."""

    seeds: int = 2
    """trainings of each remedy; their seeds count from --seed"""
    remedies: tuple[str, ...] = ("rollout", "long_rollout", "long_history", "both")
    """what is compared with the plain training"""
    horizon: int = 50
    """model steps to look ahead"""


Args = (
    Annotated[Tension, tyro.conf.subcommand("tension", prefix_name=False)]
    | Annotated[Horizon, tyro.conf.subcommand("horizon", prefix_name=False)]
)


def run(args: Tension | Horizon) -> int:
    """Run the study; 0 when every cell was trained and measured."""
    rows, sentences = _tension(args) if isinstance(args, Tension) else _horizon(args)
    if args.json is not None:
        write_results(args.json, shlex.join(["jepaflow", *sys.argv[1:]]), rows, keep=True)
        console.print(f"Figures: {args.json}")
    if args.report is not None:
        console.print(f"Picture: {args.report}")
    for sentence in sentences:
        console.print(sentence, markup=False)
    return 0


def _tension(args: Tension) -> tuple[list[Row], list[str]]:
    from jepaflow.studies import pictures, tension
    from jepaflow.studies.runner import run_study

    study = tension.tension_study(args.train, args.frames, args.lambdas, args.seeds)
    found = tension.gather(run_study(_announced(study, args), args.output_dir))
    if args.report is not None:
        pictures.draw_tension(found, args.report, _title("The tension between foretelling and SIGReg", args))
    return tension.tension_rows(found, args.frames), tension.tension_sentences(found)


def _horizon(args: Horizon) -> tuple[list[Row], list[str]]:
    from jepaflow.data.store import Store
    from jepaflow.studies import horizon, pictures
    from jepaflow.studies.runner import run_study

    study = horizon.horizon_study(args.train, args.frames, args.remedies, args.seeds, args.horizon)
    found = horizon.gather(run_study(_announced(study, args), args.output_dir))
    if args.report is not None:
        seconds = args.train.block / Store(args.train.dataset.path[0]).fps
        title = _title("How far ahead, and what each remedy buys", args)
        pictures.draw_horizon(found, args.report, title, seconds)
    return horizon.horizon_rows(found, args.frames), horizon.horizon_sentences(found)


def _announced(study: Study, args: Common) -> Study:
    console.print(f"{study.name}: {len(study.cells)} cells of {args.frames:,} frames, in {args.output_dir}.")
    return study


def _title(what: str, args: Common) -> str:
    cell = f"{args.seeds} seed{'s' * (args.seeds != 1)} of {args.frames:,} frames"
    return f"{what} ({args.train.dataset.path[0].stem}, {args.train.preset}, {cell})"
