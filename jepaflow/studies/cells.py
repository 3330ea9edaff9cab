"""What a study is: cells, each one training, and the measures that are taken of every one.

A cell is nothing but a name and a training configuration (its seed included), a measure nothing but a function of a
trained run with settings that can be written down. Both are frozen and picklable, so a cell can be run wherever a
worker finds the store. What a cell is worth depends on what it was trained on and how, and on nothing else: its mark
is a hash of the configuration, without what only changes the book-keeping, and of what the stores hold.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.readings import Readings
from jepaflow.training.config import TrainConfig

BOOK_KEEPING = ("save_every", "log_every", "val_every", "val_batches", "keep", "device", "compile")
"""Entries of a configuration that do not change what is learnt."""
SAMPLED_FRAMES = 64
"""Frames whose bytes enter the mark of a store."""


@dataclass(frozen=True)
class Cell:
    """One training of a study; several seeds of one setting share the name."""

    name: str
    config: TrainConfig

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


def store_mark(path: Path) -> str:
    """Hash of what a store holds: how its frames were made, what its episodes did, and a sample of its frames."""
    store = Store(path)
    digest = hashlib.sha256()
    about = (store.fps, store.image_size, store.cameras, store.meta.get("image_fit"), store.ep_len.tolist())
    digest.update(repr(about).encode())
    for episode in range(store.num_episodes):
        digest.update(store.fingerprint(episode).encode())
    sample = np.unique(np.linspace(0, max(0, store.length - 1), SAMPLED_FRAMES).astype(np.int64))
    if store.length:
        digest.update(store.pixels(sample, store.cameras).tobytes())
    return digest.hexdigest()[:16]


def cell_mark(config: TrainConfig, stores: tuple[str, ...]) -> str:
    """Hash of what a training depends on.

    Args:
        config: of the training; where its stores lie does not matter.
        stores: their marks.
    """
    told = {key: value for key, value in asdict(config).items() if key not in BOOK_KEEPING}
    told["dataset"] = {key: value for key, value in told["dataset"].items() if key != "path"}
    text = json.dumps([told, stores], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
    steps = frames // each
    return replace(config, steps=steps, save_every=steps, val_every=steps)
