"""``jepaflow imagine``: see what a run imagines from a few frames and the actions alone, beside what came."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from jepaflow.common.console import console
from jepaflow.common.results import write_results
from jepaflow.diagnosis.words import number
from jepaflow.evaluation.imagine import Imagination, Window, imagine, result_rows
from jepaflow.evaluation.imagine_picture import check_output, draw_imagination
from jepaflow.training.checkpoint import load_run


@dataclass(frozen=True)
class DatasetArgs:
    """Which store to take the episode from."""

    path: Path | None = None
    """A store to use instead of the run's own."""


@dataclass(frozen=True)
class Args:
    """Draw real, reconstructed and imagined frames of an episode, the latent's error under each."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder of jepaflow train, with a decoder (jepaflow decoder RUN)."""
    window: Annotated[Window, tyro.conf.arg(name="")] = field(default_factory=Window)
    """What to imagine."""
    dataset: DatasetArgs = field(default_factory=DatasetArgs)
    """Which store to take the episode from."""
    output: Path = Path("imagined.png")
    """A .png, or a film (.mp4)."""
    device: str = "auto"
    """auto, cpu or cuda."""
    name: str | None = None
    """Prefix of the rows in --json; the run's folder name when not given."""
    json: Path | None = None
    """Write the errors to this file."""


def run(args: Args) -> int:
    """Draw, and say the errors at the last step."""
    check_output(args.output)
    shown = imagine(load_run(args.run, args.device), args.window, args.dataset.path)
    draw_imagination(args.output, shown)
    console.print(_sentence(shown))
    console.print(f"Drawn: {args.output}")
    if args.json is not None:
        rows = result_rows(shown, args.name or args.run.resolve().name)
        write_results(args.json, shlex.join(["jepaflow", *sys.argv[1:]]), rows, keep=True)
        console.print(f"Figures: {args.json}")
    return 0


def _sentence(shown: Imagination) -> str:
    """The errors at the last step, in words."""
    steps = f"{shown.steps} model step{'' if shown.steps == 1 else 's'}"
    seconds = number(shown.steps * shown.block / shown.fps, 1)
    own, still = (number(100 * float(e[-1]), 0) for e in (shown.error, shown.still))
    words = f"Episode {shown.episode}, {steps} ({seconds} s) ahead: latent error {own} % of that of two random frames"
    if shown.mismatched_error is not None:
        foreign = number(100 * float(shown.mismatched_error[-1]), 0)
        words += f", {foreign} % with the actions of episode {shown.other}"
    return f"{words}, {still} % if nothing moved."
