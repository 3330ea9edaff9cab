"""``jepaflow surprise``: show a run impossible events and see whether they surprise it."""

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
from jepaflow.common.files import atomic_path
from jepaflow.common.results import Row, write_results
from jepaflow.data.store import Store
from jepaflow.diagnosis.surprise import Surprise, SurpriseConfig, measure
from jepaflow.diagnosis.surprise_figure import draw_surprise
from jepaflow.diagnosis.surprise_rows import result_rows
from jepaflow.diagnosis.words import number
from jepaflow.evaluation.surprise_picture import draw_examples
from jepaflow.training.checkpoint import Run, load_run


@dataclass(frozen=True)
class Args:
    """Violation of expectation: the same episode twice, once with something impossible in it."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder of jepaflow train."""
    config: Annotated[SurpriseConfig, tyro.conf.arg(name="")] = field(default_factory=SurpriseConfig)
    """What to show it."""
    device: str = "auto"
    """auto, cpu or cuda."""
    name: str = ""
    """Prefix of the rows."""
    json: Path | None = None
    """Write the figures to this file as well; RUN/diagnosis/surprise.json has them always."""
    picture: Path | None = None
    """Draw an example of each violation (.png)."""


def run(args: Args) -> int:
    """Measure, and write figures and pictures."""
    loaded = load_run(args.run, args.device)
    found = measure(loaded.model, args.config, _primary(loaded))
    command, rows = shlex.join(["jepaflow", *sys.argv[1:]]), result_rows(found, args.name)
    folder = args.run / "diagnosis"
    write_results(folder / "surprise.json", command, rows)
    with atomic_path(folder / "surprise.png") as temporary:
        temporary.write_bytes(draw_surprise(found, rows))
    console.print(_table(found, rows))
    if rare := [answer.kind for answer in found.answers if len(answer) < args.config.pairs]:
        console.print(f"Fewer pairs than asked for, their moments are too rare: {', '.join(rare)}.")
    console.print(f"Figures: {folder / 'surprise.json'}, {folder / 'surprise.png'}")
    if args.json is not None:
        write_results(args.json, command, rows, keep=True)
        console.print(f"Figures: {args.json}")
    if args.picture is not None:
        draw_examples(args.picture, found, args.run.resolve().name)
        console.print(f"Examples: {args.picture}")
    return 0


def _primary(run: Run) -> str:
    """The name of the camera that the model calls ``pixels``, in the store that it was trained on, if that is at hand."""
    return Store(run.store_path).cameras[0] if run.store_path.is_file() else "laptop"


def _table(found: Surprise, rows: list[Row]) -> Table:
    by_kind = {row.name.split("/")[-2]: row for row in rows if row.name.endswith("/auroc")}
    title = f"{found.config.env}: AUROC of surprise [95 %], beside the floors; {found.episodes} episodes"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("violation", "AUROC", "pixels", "copy last", "untrained", "pairs"):
        table.add_column(column, justify="left" if column == "violation" else "right", no_wrap=True)
    for answer in found.answers:
        row = by_kind.get(answer.kind)
        if row is None:
            table.add_row(answer.kind, *["–"] * 4, str(len(answer)))
            continue
        floors = [number(row.floors[one]) if one in row.floors else "–" for one in ("pixels", "copy_last", "untrained")]
        value = f"{number(row.value)} [{number(row.low)}, {number(row.high)}]"
        table.add_row(answer.kind, value, *floors, str(row.n))
    return table
