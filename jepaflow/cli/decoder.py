"""``jepaflow decoder``: learn to draw what a run's frozen latents hold, beside the floors; for ``jepaflow imagine``."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from jepaflow.common.console import console
from jepaflow.common.results import Row, write_results
from jepaflow.training.checkpoint import load_run
from jepaflow.training.decoding import DecodingConfig, train_decoder


@dataclass(frozen=True)
class Args:
    """Train a decoder on a run's frozen latents: latent → pictures of every camera. The run itself stays as it is."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """run folder of jepaflow train"""
    training: Annotated[DecodingConfig, tyro.conf.arg(name="")] = field(default_factory=DecodingConfig)
    dataset: tuple[Path, ...] = ()
    """where the run's stores lie now, when they were moved"""
    device: str = "auto"
    """auto, cpu or cuda"""
    name: str | None = None
    """prefix of the rows in --json; the run's folder name when not given"""
    json: Path | None = None
    """write the figures to this file"""


def run(args: Args) -> int:
    """Train; prints the figures on held-out episodes beside their floors."""
    command = shlex.join(["jepaflow", *sys.argv[1:]])
    record = train_decoder(load_run(args.run, args.device), args.training, command, args.dataset)
    rows = [Row(**row) for row in record["rows"]]
    _show(rows, args.run)
    console.print(f"Made: {args.run / 'decoder.safetensors'}. See what the model imagines: jepaflow imagine {args.run}")
    if args.json is not None:
        prefix = args.name or args.run.resolve().name
        named = [Row(**{**row, "name": f"{prefix}/{row['name']}"}) for row in record["rows"]]
        write_results(args.json, command, named, keep=True)
        console.print(f"Figures: {args.json}")
    return 0


def _show(rows: list[Row], folder: Path) -> None:
    """Print the figures as a table."""
    if not rows:
        console.print("No episode was held out to judge on.")
        return
    title = f"{folder}: {rows[0].n} frames of held-out episodes; nearest: the training frame with the nearest latent"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "decoded, 95 % interval", "nearest frame", "mean frame"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        own = f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]{' dB' if row.unit == 'dB' else ''}"
        table.add_row(
            row.name.removeprefix("decoder/"), own, f"{row.floors['nearest']:.2f}", f"{row.floors['mean']:.2f}"
        )
    console.print(table)
