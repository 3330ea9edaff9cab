"""Runs a study's cells: resumable, each cell's figures kept where it was trained.

A cell lives in ``<folder>/<name>-s<seed>-<mark>``; its ``cell.json`` holds the figures, measure by measure, written whole
or not at all. Run again, a study takes what is there and goes on with the rest; a killed one loses the cell in flight at
most. A new measure is taken of runs that are trained already; a changed configuration or store has another mark and so
another folder. Cells do not know of each other: ``execute`` may be anything of the shape of ``map`` (one process, the
default; a pool of workers later), and ``run_cell`` with its arguments can be sent to another process.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, write_json
from jepaflow.studies.cells import Cell, Measure, Study, cell_mark, store_mark
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.readings import Readings
from jepaflow.training.checkpoint import load_run
from jepaflow.training.trainer import train


@dataclass(frozen=True)
class Result:
    """A finished cell."""

    cell: Cell
    readings: Readings
    minutes: float | None
    """of its training; None when it was interrupted in between"""
    fresh: bool
    """whether anything was trained or measured now"""


Execute = Callable[[Callable[[Cell], Result], Sequence[Cell]], Iterable[Result]]


def cell_folder(folder: Path, cell: Cell, marks: Mapping[Path, str]) -> Path:
    """Where a cell's run and figures lie."""
    stores = tuple(marks[path] for path in cell.config.dataset.path)
    return folder / f"{cell.name}-s{cell.seed}-{cell_mark(cell.config, stores)}"


def run_cell(cell: Cell, folder: Path, marks: Mapping[Path, str], measures: Sequence[Measure]) -> Result:
    """Train and measure one cell, or take what is known of it.

    Args:
        cell: what to train.
        folder: of the study.
        marks: of the stores.
        measures: what to measure.

    Raises:
        JepaflowError: naming the cell, when its training or a measure fails or its record is damaged.
    """
    own = cell_folder(folder, cell, marks)
    try:
        return _run_cell(cell, own, measures)
    except JepaflowError as error:
        raise JepaflowError(f"Cell {cell.title} ({own}): {error}") from error


def _run_cell(cell: Cell, own: Path, measures: Sequence[Measure]) -> Result:
    record = own / "cell.json"
    known = _known(record)
    missing = [one for one in measures if not _has(known, one)]
    if missing:
        known["minutes"] = _trained(cell, own, known.get("minutes"))
        evidence = Evidence(load_run(own, cell.config.device))
        for one in missing:
            known["measures"][one.name] = {"settings": dict(one.settings), "readings": one(evidence).as_json()}
            write_json(record, known)
    together = Readings()
    for one in measures:
        together = together.merged(Readings.from_json(known["measures"][one.name]["readings"]))
    return Result(cell, together, known.get("minutes"), bool(missing))


def _trained(cell: Cell, own: Path, minutes: float | None) -> float | None:
    """Train to the end unless that is done; returns how long it took, where it was not interrupted."""
    if (own / "checkpoints" / f"{cell.config.steps:06d}").is_dir():
        return minutes
    clean, begun = not own.exists(), time.perf_counter()
    train(cell.config, own, resume=True)
    return (time.perf_counter() - begun) / 60 if clean else None


def _known(record: Path) -> dict[str, Any]:
    """What a cell's record says.

    Raises:
        JepaflowError: when it cannot be read: its figures must not be guessed.
    """
    if not record.is_file():
        return {"minutes": None, "measures": {}}
    try:
        known: dict[str, Any] = read_json(record)
        for one in known["measures"].values():
            Readings.from_json(one["readings"])
            one["settings"]
    except (JepaflowError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise JepaflowError(
            f"{record} is damaged. Delete that file and run the study again: the cell is measured anew, its training kept."
        ) from error
    return known


def _has(known: dict[str, Any], measure: Measure) -> bool:
    own = known["measures"].get(measure.name)
    return own is not None and own["settings"] == dict(measure.settings)


def embedded(job: Callable[[Cell], Result], cells: Sequence[Cell]) -> Iterator[Result]:
    """Run cells one after the other in this process."""
    return map(job, cells)


def run_study(study: Study, folder: Path, execute: Execute = embedded) -> list[Result]:
    """Run all cells; returns their results in the study's order.

    Args:
        study: cells and measures.
        folder: where cells are kept.
        execute: how cells are run.

    Raises:
        JepaflowError: as `run_cell`; cells that are finished stay so.
    """
    paths = sorted({path for cell in study.cells for path in cell.config.dataset.path})
    marks = {path: store_mark(path) for path in paths}
    begun, results = time.monotonic(), []
    job = partial(run_cell, folder=folder, marks=marks, measures=study.measures)
    for result in execute(job, study.cells):
        results.append(result)
        console.print(_progress(study, results, time.monotonic() - begun), markup=False)
    return results


def _progress(study: Study, results: list[Result], seconds: float) -> str:
    done, all_cells = len(results), len(study.cells)
    fresh = sum(result.fresh for result in results)
    left = f", about {seconds / fresh * (all_cells - done) / 60:.0f} min left" if fresh and done < all_cells else ""
    how = "measured" if results[-1].fresh else "known already"
    return f"{study.name} {done}/{all_cells}: {results[-1].cell.title} {how}{left}"
