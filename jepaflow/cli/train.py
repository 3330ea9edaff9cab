"""``jepaflow train``: a store becomes a trained world model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from jepaflow.common.console import console
from jepaflow.common.files import write_json
from jepaflow.training.config import TrainConfig
from jepaflow.training.trainer import train


@dataclass(frozen=True)
class Args:
    """Train a JEPA world model on one or several stores, or resume a run."""

    output_dir: Path
    """folder of the run"""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    resume: bool = False
    """continue the run in --output-dir from its last checkpoint, with its own configuration"""
    minutes: float | None = None
    """stop after so many minutes, with a checkpoint; --resume goes on. The learning rate falls over --steps all the same"""
    json: Path | None = None
    """write the last health figures to this file"""


def run(args: Args) -> int:
    """Train; prints where the checkpoint lies."""
    trainer = train(args.train, args.output_dir, args.resume, args.minutes)
    from jepaflow.training.log import read_log

    rows = [row for row in read_log(args.output_dir) if "val/skill" in row]
    if rows:
        last = rows[-1]
        console.print(
            f"Held-out episodes: skill over copy-last {last['val/skill']:.2f}, effective rank {last['val/effective_rank']:.1f} "
            f"of {trainer.model.config.latent_dim}."
        )
        if args.json:
            write_json(args.json, last)
    if trainer.step < trainer.config.steps:
        console.print(f"The time is up at step {trainer.step} of {trainer.config.steps}. --resume goes on from there.")
    console.print(
        f"Trained to step {trainer.step}: {args.output_dir / 'checkpoints' / 'last'}\nNext: jepaflow diagnose {args.output_dir}"
    )
    return 0
