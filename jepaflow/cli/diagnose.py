"""`jepaflow diagnose RUN`: does the model see? Forecast skill, geometry, one plain verdict, one HTML report."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import write_results
from jepaflow.diagnosis.forecast import Forecast
from jepaflow.diagnosis.measure import Diagnosis, Options, diagnose_run, pool
from jepaflow.diagnosis.report import write_report
from jepaflow.diagnosis.rows import result_rows
from jepaflow.diagnosis.words import number, show


@dataclass(frozen=True)
class DatasetArgs:
    """Which store to judge on."""

    path: Path | None = None
    """A store to use instead of the run's own."""


@dataclass(frozen=True)
class Args:
    """Judge one run, or several seeds of one setting together, on episodes that they never trained on."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folders of jepaflow train; several are seeds of one setting."""
    dataset: DatasetArgs = field(default_factory=DatasetArgs)
    """Which store to judge on."""
    output_dir: Path | None = None
    """Where the reports go; RUN/diagnosis when not given."""
    horizon: int = 10
    """How many model steps ahead to look."""
    episodes: int = 200
    """Judge on at most this many held-out episodes."""
    frames: int = 1500
    """Encode about this many frames: episodes are seen from more than one phase while it lasts."""
    draws: int = 2000
    """Resamples of the intervals."""
    seed: int = 0
    """Of the resamples, the shuffling and the directions."""
    device: str = "auto"
    """auto, cpu or cuda."""
    name: str | None = None
    """Prefix of the rows in --json; the first run's folder name when not given."""
    json: Path | None = None
    """Write the figures to this file."""


def run(args: Args) -> int:
    """Run the command; 0 when every run was judged, whatever the verdict."""
    if not args.runs:
        raise JepaflowError("Name at least one run folder: jepaflow diagnose RUN")
    options = Options(args.horizon, args.episodes, args.frames, args.draws, args.seed)
    diagnoses = []
    for folder, output in zip(args.runs, _outputs(args)):
        diagnosis = diagnose_run(folder, args.dataset.path, options, args.device)
        report = write_report(diagnosis, output, _command(args, (folder,), output=args.output_dir and output))
        _print_one(folder, diagnosis, report)
        diagnoses.append(diagnosis)
    pooled = pool(diagnoses, options)
    if len(diagnoses) > 1:
        console.print(_table(pooled.forecast, f"{len(diagnoses)} seeds together"))
        console.print(f"[bold]{pooled.verdict.sentence}[/bold]")
    if args.json is not None:
        name = args.name or args.runs[0].resolve().name
        write_results(args.json, _command(args, args.runs), result_rows(name, diagnoses, pooled), keep=True)
        console.print(f"Figures: {args.json}")
    return 0


def _outputs(args: Args) -> list[Path]:
    """One folder a run, all different."""
    if args.output_dir is None:
        return [folder / "diagnosis" for folder in args.runs]
    if len(args.runs) == 1:
        return [args.output_dir]
    names = [folder.resolve().name for folder in args.runs]
    unique = len(set(names)) == len(names)
    return [args.output_dir / (name if unique else f"{index}_{name}") for index, name in enumerate(names)]


def _command(args: Args, runs: tuple[Path, ...], output: Path | None = None) -> str:
    """What a reader types to get the same figures."""
    words = ["jepaflow", "diagnose", *map(str, runs)]
    if args.dataset.path is not None:
        words += ["--dataset.path", str(args.dataset.path)]
    if output is not None:
        words += ["--output-dir", str(output)]
    for name in ("horizon", "episodes", "frames", "draws", "seed"):
        value = getattr(args, name)
        if value != Args.__dataclass_fields__[name].default:
            words += [f"--{name}", str(value)]
    if len(runs) == len(args.runs) and args.json is not None and output is None:
        words += ["--json", str(args.json)] + (["--name", args.name] if args.name else [])
    return shlex.join(words)


def _table(forecast: Forecast, title: str) -> Table:
    title = f"{title}: {forecast.skill[0].episodes} held-out episodes, n windows"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("h", "skill", "shuffled actions", "difference", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for h, (own, other, gain) in enumerate(zip(forecast.skill, forecast.shuffled, forecast.gain), start=1):
        table.add_row(str(h), show(own), show(other), show(gain), str(own.n))
    return table


def _print_one(folder: Path, diagnosis: Diagnosis, report: Path) -> None:
    geometry = diagnosis.geometry
    console.print(_table(diagnosis.forecast, f"{folder}, step {diagnosis.facts['checkpoint_step']}"))
    console.print(
        f"effective rank {show(geometry.effective_rank, 1)} of {geometry.latent_dim}, "
        f"{number(100 * geometry.normality.share, 0)} % of directions not normal (n = {geometry.normality.n}), "
        f"straightness {show(geometry.straightness)}"
    )
    console.print(f"[bold]{diagnosis.verdict.sentence}[/bold]")
    console.print(f"Report: {report}")
