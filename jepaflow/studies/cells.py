"""What a study is: cells, each one training, and the measures that are taken of every one.

A cell is nothing but a name, a training configuration (its seed included) and what it is judged on; a measure nothing but a
function of a trained run with settings that can be written down. Both are frozen and picklable, so a cell can be run wherever
a worker finds the store. What a cell is worth depends on what it was trained on and how, and on nothing else
(:mod:`jepaflow.studies.marks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jepaflow.common.errors import JepaflowError
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.readings import Readings
from jepaflow.training.config import TrainConfig


@dataclass(frozen=True)
class Cell:
    """One training of a study; several seeds of one setting share the name."""

    name: str
    config: TrainConfig
    fresh: tuple[Path, tuple[int, ...]] | None = None
    """a store and episodes of it that neither the training nor its own held-out episodes come from, where a measure asks"""
    fitted_on: tuple[int, ...] | None = None
    """episodes that probes are fitted on; those of the training when not given"""
    start: Cell | None = None
    """a cell of the same study whose weights this one begins from; it is trained first"""

    def __post_init__(self) -> None:
        if not self.name or self.name.startswith(".") or "/" in self.name:
            raise JepaflowError(f"A cell cannot be called {self.name!r}: its name becomes part of a folder's.")

    @property
    def seed(self) -> int:
        """Of the training."""
        return self.config.seed

    @property
    def title(self) -> str:
        """Name and seed, for the terminal."""
        return f"{self.name}, seed {self.seed}"


@runtime_checkable
class Measure(Protocol):
    """Something to be measured of a trained run."""

    @property
    def name(self) -> str:
        """Under which its figures are kept."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything but the run that its figures depend on, JSON-ready; figures of other settings are taken anew."""
        ...

    def __call__(self, evidence: Evidence) -> Readings:
        """Measure a run."""
        ...


@dataclass(frozen=True)
class Study:
    """Cells times measures."""

    name: str
    cells: tuple[Cell, ...]
    measures: tuple[Measure, ...]

    def __post_init__(self) -> None:
        if not self.cells or not self.measures:
            raise JepaflowError(
                f"The study {self.name} has no cell or nothing to measure. Give it at least one of each."
            )
        titles = [cell.title for cell in self.cells]
        if twice := sorted({title for title in titles if titles.count(title) > 1}):
            raise JepaflowError(f"The study {self.name} has the cell {twice[0]} twice. Name each value once.")


@dataclass(frozen=True)
class Result:
    """A finished cell."""

    cell: Cell
    readings: Readings
    minutes: float | None
    """of its training; None when it was interrupted in between"""
    fresh: bool
    """whether anything was trained or measured now"""
    mark: str = ""
    """hash of what it was trained on and how"""


def steps_of(config: TrainConfig, frames: int) -> TrainConfig:
    """The same training for as many steps as cost so many encoded frames: that is what a training's time goes to.

    Raises:
        JepaflowError: when that is less than one step.
    """
    each = config.batch_size * config.frames
    if frames < each:
        raise JepaflowError(
            f"--frames is {frames}, less than one step of {each} frames. Give more, or a smaller batch."
        )
    return with_steps(config, frames // each)


def with_steps(config: TrainConfig, steps: int) -> TrainConfig:
    """The same training for so many steps, saved and checked once, at its end: a cell is the unit that can be lost."""
    return replace(config, steps=steps, save_every=steps, val_every=steps)
