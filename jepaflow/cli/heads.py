"""``jepaflow heads``: inverse dynamics and temporal distance on a run's frozen latents; the behaviour clone beside them."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from jepaflow.common.console import console
from jepaflow.common.results import Row, write_results
from jepaflow.training.checkpoint import load_run
from jepaflow.training.cloning import CloneConfig, train_clone
from jepaflow.training.heads import HeadsConfig, train_heads


@dataclass(frozen=True)
class Args:
    """Train the heads of a run: which actions lead to a goal, and how many steps it is away."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """run folder of jepaflow train"""
    heads: Annotated[HeadsConfig, tyro.conf.arg(name="")] = field(default_factory=HeadsConfig)
    dataset: tuple[Path, ...] = ()
    """where the run's stores lie now, when they were moved"""
    clone: bool = False
    """train the behaviour clone of the run's size instead of the heads"""
    clone_steps: int | None = None
    """optimizer steps of the clone; as many as the run's when not given"""
    clone_batch_size: int | None = None
    """pairs in a step of the clone; as many frames as the run's batch has when not given"""
    device: str = "auto"
    """auto, cpu or cuda; for encoding and the clone"""
    name: str | None = None
    """prefix of the rows in --json; the run's folder name when not given"""
    json: Path | None = None
    """write the figures to this file"""


def run(args: Args) -> int:
    """Train; prints the figures on held-out episodes beside their floors."""
    command = shlex.join(["jepaflow", *sys.argv[1:]])
    trained = load_run(args.run, args.device)
    if args.clone:
        heads = args.heads
        config = CloneConfig(
            args.clone_steps, args.clone_batch_size, heads.reach, actions=heads.actions, seed=heads.seed
        )
        record, made = train_clone(trained, config, command, args.dataset), args.run / "clone.safetensors"
    else:
        record, made = train_heads(trained, args.heads, command, args.dataset), args.run / "heads.safetensors"
    _show(record, args.run)
    console.print(f"Made: {made}")
    if args.json is not None:
        prefix = args.name or args.run.resolve().name
        rows = [Row(**{**row, "name": f"{prefix}/{row['name']}"}) for row in record["rows"]]
        write_results(args.json, command, rows, keep=True)
        console.print(f"Figures: {args.json}")
    return 0


def _show(record: dict[str, Any], folder: Path) -> None:
    """Print the figures as a table."""
    if not record["rows"]:
        console.print("No held-out episode is long enough to judge on.")
        return
    table = Table(title=f"{folder}: held-out episodes", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "value, 95 % interval", "floors"):
        table.add_column(heading, no_wrap=heading != "floors")
    for row in record["rows"]:
        floors = ", ".join(f"{name} {value:.2f}" for name, value in row["floors"].items())
        table.add_row(row["name"], f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] {row['unit']}", floors)
    console.print(table)
