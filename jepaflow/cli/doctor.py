"""``jepaflow doctor DATASET``: everything that is wrong with a dataset, with place, level and remedy."""

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.markup import escape
from rich.table import Table

from jepaflow.common.console import console
from jepaflow.common.files import write_json
from jepaflow.data.doctor import Diagnosis, examine

_COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


@dataclass(frozen=True)
class Args:
    """Examine a dataset: structure, counts, timestamps, values, frames. Exits with 1 when there are errors."""

    dataset: tyro.conf.Positional[str]
    """Folder of a LeRobot dataset (v2.0, v2.1, v3.0) or of videos, or a hub id (owner/name)."""
    frames: bool = True
    """Decode every frame to find black, frozen and broken ones. --no-frames looks at everything else, in seconds."""
    json: Path | None = None
    """Write the findings to this file."""


def run(args: Args) -> int:
    """Examine, print the findings and a summary."""
    diagnosis = examine(args.dataset, args.frames)
    if diagnosis.findings:
        console.print(_table(diagnosis))
    console.print(diagnosis.summary(), markup=False)
    if args.json:
        write_json(args.json, diagnosis.as_dict())
    return 1 if diagnosis.count("error") else 0


def _table(diagnosis: Diagnosis) -> Table:
    table = Table(show_lines=True, expand=True)
    for name, ratio in (("level", 0), ("where", 2), ("finding", 5), ("what to do", 3)):
        table.add_column(name, ratio=ratio or None, overflow="fold")
    for finding in diagnosis.findings:
        places = [finding.file or ""]
        places += [f"episode {finding.episode}"] if finding.episode is not None else []
        places += [f"frame {finding.frame}"] if finding.frame is not None else []
        colour = _COLOURS[finding.level]
        table.add_row(
            f"[{colour}]{finding.level}[/]\n[dim]{finding.code}[/]",
            escape("\n".join(place for place in places if place)),
            escape(finding.sentence),
            escape(finding.fix),
        )
    return table
