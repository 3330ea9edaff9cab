"""`jepaflow diagnose RUN`: does the model see? One plain verdict, the evidence, how to improve; in one HTML report.

Several runs are seeds of one setting and pooled, unless ``--compare`` sets them side by side on one page.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.common.results import Row, write_results
from jepaflow.diagnosis.compare import prefixed, write_comparison
from jepaflow.diagnosis.forecast import Forecast
from jepaflow.diagnosis.measure import Diagnosis, Options, diagnose_run, pool
from jepaflow.diagnosis.probe_figure import draw_probes
from jepaflow.diagnosis.probes import probe_run
from jepaflow.diagnosis.report import all_rows, write_report
from jepaflow.diagnosis.rows import result_rows
from jepaflow.diagnosis.topics import Topic, read_topics
from jepaflow.diagnosis.words import number, show
from jepaflow.training.checkpoint import load_run


@dataclass(frozen=True)
class DatasetArgs:
    """Which store to judge on."""

    path: Path | None = None
    """A store to use instead of the run's own."""


@dataclass(frozen=True)
class Args:
    """Judge one run, or several seeds of one setting together, on episodes that they never trained on."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folders of jepaflow train; several are seeds of one setting, unless --compare is given."""
    dataset: DatasetArgs = field(default_factory=DatasetArgs)
    """Which store to judge on."""
    output_dir: Path | None = None
    """Where the reports go; RUN/diagnosis when not given, and RUN/diagnosis/compare of the first run for a comparison."""
    compare: bool = False
    """The runs differ in more than their seed: show them side by side in one report instead of pooling them."""
    skip: tuple[Literal["close-up", "probes"], ...] = ()
    """Parts to leave out for speed: close-up (geometry in depth, maps, neighbours, far horizons), probes."""
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
    if args.compare and len(args.runs) < 2:
        raise JepaflowError("--compare wants at least two runs: jepaflow diagnose RUN_A RUN_B --compare")
    options = Options(args.horizon, args.episodes, args.frames, args.draws, args.seed, args.skip)
    diagnoses, topics = [], []
    for folder, output in zip(args.runs, _outputs(args)):
        diagnosis = diagnose_run(folder, args.dataset.path, options, args.device)
        topics.append(read_topics(folder, _probes(args, folder)))
        command = _command(args, (folder,), output=args.output_dir and output)
        report = write_report(diagnosis, output, command, topics[-1], str(folder))
        _print_one(folder, diagnosis, report)
        diagnoses.append(diagnosis)
    rows = _together(args, diagnoses, topics, options)
    if args.json is not None:
        write_results(args.json, _command(args, args.runs), rows, keep=True)
        console.print(f"Figures: {args.json}")
    return 0


def _together(args: Args, diagnoses: list[Diagnosis], topics: list[tuple[Topic, ...]], options: Options) -> list[Row]:
    """Compare or pool the runs, say so, and return the rows for --json."""
    if args.compare:
        names = _names(args.runs)
        folder = args.output_dir or args.runs[0] / "diagnosis" / "compare"
        report = write_comparison(names, diagnoses, topics, folder, _command(args, args.runs, args.output_dir))
        console.print(f"Comparison: {report}")
        return prefixed(names, [all_rows(one, each) for one, each in zip(diagnoses, topics)])
    pooled = pool(diagnoses, options)
    if len(diagnoses) > 1:
        console.print(_table(pooled.forecast, f"{len(diagnoses)} seeds together"))
        console.print(f"[bold]{pooled.verdict.sentence}[/bold]")
    name = args.name or args.runs[0].resolve().name
    others = [row for topic in topics[0] for row in topic.rows] if len(diagnoses) == 1 else []
    return result_rows(name, diagnoses, pooled) + prefixed([name], [others])


def _probes(args: Args, folder: Path) -> dict[str, str]:
    """Probe the run as ``jepaflow probe`` does, where its store has labels and its figures are not there yet.

    Returns:
        Why there are no probes, if there are none.
    """
    path = folder / "diagnosis" / "probes.json"
    if "probes" in args.skip:
        return {"probes": "Left out (--skip probes)."}
    loaded = load_run(folder, args.device)
    if path.is_file() and not any(t.stale(loaded.step) for t in read_topics(folder) if t.kind.key == "probes"):
        return {}
    try:
        probes = probe_run(loaded, args.dataset.path)
    except JepaflowError as error:
        return {"probes": str(error)}
    typed = ["jepaflow", "probe", str(folder)]
    typed += [] if args.dataset.path is None else ["--dataset.path", str(args.dataset.path)]
    write_results(path, shlex.join(typed), probes.rows())
    with atomic_path(path.with_suffix(".png")) as temporary:
        temporary.write_bytes(draw_probes(probes))
    return {}


def _names(runs: tuple[Path, ...]) -> list[str]:
    """A name a run, all different: the folder's, with a number before it where two are alike."""
    names = [folder.resolve().name for folder in runs]
    unique = len(set(names)) == len(names)
    return names if unique else [f"{index}_{name}" for index, name in enumerate(names)]


def _outputs(args: Args) -> list[Path]:
    """One folder a run, all different."""
    if args.output_dir is None:
        return [folder / "diagnosis" for folder in args.runs]
    if len(args.runs) == 1:
        return [args.output_dir]
    return [args.output_dir / name for name in _names(args.runs)]


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
    if args.skip:
        words += ["--skip", *args.skip]
    if args.compare and len(runs) > 1:
        words.append("--compare")
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
