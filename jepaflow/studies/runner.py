"""Runs a study's cells: resumable, each cell's figures kept where it was trained.

A cell lives in ``<folder>/<name>-s<seed>-<mark>``; its ``cell.json`` holds the figures, measure by measure, written whole
or not at all. Run again, a study takes what is there and goes on with the rest; a killed one loses the cells in flight at
most. A new measure, or new code of the diagnosis, is taken of runs that are trained already; a changed configuration, store or
code of the training has another mark and so another folder. Cells do not know of each other: ``execute`` may be anything of
the shape of ``map`` that returns results as they come (one process, the default; Ray, :mod:`jepaflow.studies.cluster`), and
the job can be sent to another process.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, write_json
from jepaflow.studies.board import Board
from jepaflow.studies.cells import Cell, Measure, Result, Study
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.marks import LEARNING, MEASURING, cell_mark, code_mark, store_mark
from jepaflow.studies.readings import Readings
from jepaflow.training.checkpoint import load_run
from jepaflow.training.trainer import train


@dataclass(frozen=True)
class Job:
    """All that running a cell needs, wherever it is run.

    Attributes:
        folder: of the study's cells.
        stores: marks of the stores.
        measures: what is measured.
        learning, measuring: marks of the code.
    """

    folder: Path
    stores: Mapping[Path, str]
    measures: tuple[Measure, ...]
    learning: str = field(default_factory=lambda: code_mark(LEARNING))
    measuring: str = field(default_factory=lambda: code_mark(MEASURING))

    def mark(self, cell: Cell) -> str:
        """Hash of what a cell's training depends on."""
        stores = tuple(self.stores[path] for path in cell.config.dataset.path)
        return cell_mark(cell.config, stores, self.learning, self.mark(cell.start) if cell.start else "")

    def home(self, cell: Cell) -> Path:
        """Where a cell's run and figures lie."""
        return self.folder / f"{cell.name}-s{cell.seed}-{self.mark(cell)}"

    def __call__(self, cell: Cell) -> Result:
        """Train and measure one cell, or take what is known of it.

        Raises:
            JepaflowError: naming the cell, when its training or a measure fails or its record is damaged.
        """
        try:
            return self._run(cell)
        except JepaflowError as error:
            raise JepaflowError(f"Cell {cell.title} ({self.home(cell)}): {error}") from error

    def known(self, cell: Cell) -> Result | None:
        """What is known of a cell; None unless all its figures are.

        Raises:
            JepaflowError: as calling it.
        """
        try:
            record = _read(self.home(cell) / "cell.json")
            if any(self._missing(record, one, cell) for one in self.measures):
                return None
            return self._result(cell, record, False)
        except JepaflowError as error:
            raise JepaflowError(f"Cell {cell.title} ({self.home(cell)}): {error}") from error

    def _run(self, cell: Cell) -> Result:
        own = self.home(cell)
        record = _read(own / "cell.json")
        missing = [one for one in self.measures if self._missing(record, one, cell)]
        if missing:
            record["minutes"] = self._trained(cell, own, record.get("minutes"))
            evidence = Evidence(load_run(own, cell.config.device), cell.fresh, cell.fitted_on)
            for one in missing:
                told = {"settings": self._settings(one, cell), "code": self.measuring}
                record["measures"][one.name] = {**told, "readings": one(evidence).as_json()}
                write_json(own / "cell.json", record)
        return self._result(cell, record, bool(missing))

    def _result(self, cell: Cell, record: dict[str, Any], fresh: bool) -> Result:
        together = Readings()
        for one in self.measures:
            together = together.merged(Readings.from_json(record["measures"][one.name]["readings"]))
        return Result(cell, together, record.get("minutes"), fresh, self.mark(cell))

    def _settings(self, measure: Measure, cell: Cell) -> dict[str, Any]:
        """What a measure's figures of this cell depend on, but for its training and the code."""
        judged = {} if cell.fresh is None else {"fresh": [self.stores[cell.fresh[0]], list(cell.fresh[1])]}
        probed = {} if cell.fitted_on is None else {"fitted_on": list(cell.fitted_on)}
        return {**measure.settings, **judged, **probed}

    def _missing(self, record: dict[str, Any], measure: Measure, cell: Cell) -> bool:
        own = record["measures"].get(measure.name)
        return own is None or own["settings"] != self._settings(measure, cell) or own.get("code") != self.measuring

    def _trained(self, cell: Cell, own: Path, minutes: float | None) -> float | None:
        """Train to the end unless that is done; returns how long it took, where it was not interrupted."""
        if (own / "checkpoints" / f"{cell.config.steps:06d}").is_dir():
            return minutes
        clean, begun = not own.exists(), time.perf_counter()
        config = cell.config if cell.start is None else replace(cell.config, init=self.home(cell.start))
        train(config, own, resume=True)
        return (time.perf_counter() - begun) / 60 if clean else None


def _read(path: Path) -> dict[str, Any]:
    """What a cell's record says.

    Raises:
        JepaflowError: when it cannot be read: its figures must not be guessed.
    """
    if not path.is_file():
        return {"minutes": None, "measures": {}}
    try:
        known: dict[str, Any] = read_json(path)
        for one in known["measures"].values():
            Readings.from_json(one["readings"])
            one["settings"]
    except (JepaflowError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise JepaflowError(
            f"{path} is damaged. Delete that file and run the study again: the cell is measured anew, its training kept."
        ) from error
    return known


Execute = Callable[[Callable[[Cell], Result], Sequence[Cell]], Iterable[Result]]


def embedded(job: Callable[[Cell], Result], cells: Sequence[Cell]) -> Iterator[Result]:
    """Run cells one after the other in this process."""
    return map(job, cells)


def run_study(
    study: Study,
    folder: Path,
    execute: Execute = embedded,
    most: int | None = None,
    told: Callable[[list[Result]], None] = lambda results: None,
) -> list[Result]:
    """Run the cells; returns their results in the study's order, whoever ran them in whatever order.

    Args:
        study: cells and measures.
        folder: where cells are kept.
        execute: how cells are run.
        most: run no more than so many cells that are not known yet; the results then lack the others.
        told: called with all results so far, in the study's order, whenever there is a new one.

    Raises:
        JepaflowError: as `Job`; cells that are finished stay so.
    """
    paths = {
        path for cell in study.cells for path in (*cell.config.dataset.path, *([cell.fresh[0]] if cell.fresh else []))
    }
    job = Job(Path(folder).resolve(), {path: store_mark(path) for path in sorted(paths)}, study.measures)
    found: dict[str, Result] = {}

    def ordered() -> list[Result]:
        return [found[cell.title] for cell in study.cells if cell.title in found]

    with Board(study) as board:
        for cell in study.cells:
            if (result := job.known(cell)) is not None:
                found[cell.title] = result
                board.add(result)
        left = [cell for cell in study.cells if cell.title not in found][:most]
        for wave in ([c for c in left if c.start is None], [c for c in left if c.start is not None]):
            board.begin(wave)
            for result in execute(job, wave) if wave else ():
                found[result.cell.title] = result
                board.add(result)
                told(ordered())
    told(ordered())
    return ordered()
