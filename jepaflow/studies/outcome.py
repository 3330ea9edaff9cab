"""What a study found, in one shape: ``results/studies/NAME/{runs.jsonl, summary.json, report.html}``.

``runs.jsonl`` has a line for each run with its figures (ratios at each horizon; their sums by episode stay in the run's own
``cell.json``), and grows as they are finished. ``summary.json`` is what they
come to: rows (the shape of every figure of this project), and what a page says of them. It holds neither dates, durations nor
places, and runs enter in the study's order: who ran them, where and when cannot be told from it. The report and the
published page (:mod:`jepaflow.studies.pages`) are made from it and nothing else.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path, read_json, write_json
from jepaflow.common.results import Row
from jepaflow.data.store import Store
from jepaflow.diagnosis.words import trained_for
from jepaflow.studies.cells import Result
from jepaflow.training.config import TrainConfig

SUMMARY, RUNS = "summary.json", "runs.jsonl"
DIGITS = 9


@dataclass(frozen=True)
class Table:
    """A table of a page, all entries as text; the first column names the row."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a study says.

    Attributes:
        title, question: of the page.
        method: sentences, with sizes and every reduction.
        answers: sentences; the first is the short one.
        limits: sentences.
        captions: of the figures, by name.
        tables: beside the figures.
        rows: figures with their intervals, n and floors.
        facts: what the figures are drawn from beside the rows; JSON-ready.
        command: what a reader types.
    """

    title: str
    question: str
    method: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    captions: dict[str, str] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    rows: tuple[Row, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    command: str = ""

    def row(self, name: str) -> Row | None:
        """The row of this name."""
        return next((row for row in self.rows if row.name == name), None)


def write_runs(folder: Path, results: Sequence[Result]) -> Path:
    """Write ``runs.jsonl``: one line for each finished run, in the study's order."""
    path = folder / RUNS
    lines = []
    for result in results:
        config = result.cell.config
        told: dict[str, Any] = {"setting": result.cell.name, "seed": result.cell.seed, "mark": result.mark}
        told |= {"episodes": config.dataset.episodes, "steps": config.steps, "cameras": list(config.cameras)}
        told |= {"stores": [path.name for path in config.dataset.path], "minutes": result.minutes}
        ratios = {name: _rounded(one.values().tolist()) for name, one in result.readings.ratios.items()}
        told |= {"ratios": ratios, "scalars": _rounded(dict(result.readings.scalars))}
        lines.append(json.dumps(told, allow_nan=False))
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_outcome(folder: Path, study: str, outcome: Outcome) -> Path:
    """Write ``summary.json``, to nine significant digits."""
    path = folder / SUMMARY
    write_json(path, _rounded({"study": study, **asdict(outcome)}))
    return path


def trained_on(config: TrainConfig) -> str:
    """Say as a limit how long models were trained, on frames of which size."""
    return f"{trained_for(config.steps)}Frames of {Store(config.dataset.path[0]).image_size} px."


def read_outcome(path: Path) -> tuple[str, Outcome]:
    """The kind of study and what it found.

    Raises:
        JepaflowError: when the file is missing or no summary.
    """
    values = read_json(path)
    try:
        study = str(values.pop("study"))
        tables = tuple(
            Table(one["title"], tuple(one["heads"]), tuple(map(tuple, one["rows"])), one["note"])
            for one in values.pop("tables")
        )
        rows = tuple(Row(**row) for row in values.pop("rows"))
        texts: dict[str, Any] = {name: tuple(values.pop(name)) for name in ("method", "answers", "limits")}
        return study, Outcome(tables=tables, rows=rows, **texts, **values)
    except (KeyError, TypeError, AttributeError) as error:
        raise JepaflowError(f"{path} is no summary of a study ({error}). Run the study again.") from error


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value
