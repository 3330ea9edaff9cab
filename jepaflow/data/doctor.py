"""Examine a dataset and say everything that is wrong with it, with place, level and remedy.

Errors make training or other tools fail or learn falsehoods; warnings deserve a look; notes are worth knowing. One pass
over the metadata, one over the rows, one over the frames.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.data.checks_frames import FrameChecks
from jepaflow.data.checks_rows import check_rows, read_rows
from jepaflow.data.checks_structure import check_structure
from jepaflow.data.checks_values import ValueChecks
from jepaflow.data.findings import Collector
from jepaflow.data.hub import open_dataset
from jepaflow.data.lerobot import LeRobotDataset
from jepaflow.data.types import LEVELS, Dataset, Finding


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found in one dataset."""

    dataset: str
    version: str
    episodes: int
    frames: int
    cameras: list[str]
    findings: list[Finding]

    def count(self, level: str) -> int:
        """Number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)

    def summary(self) -> str:
        """One line."""
        counts = ", ".join(f"{self.count(level)} {level}{'' if self.count(level) == 1 else 's'}" for level in LEVELS)
        return f"{self.dataset}: {self.version}, {self.episodes} episodes, {self.frames} frames; {counts}."

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        counts = {level: self.count(level) for level in LEVELS}
        return {**asdict(self), "counts": counts, "summary": self.summary()}


def examine(root: Path | str, frames: bool = True) -> Diagnosis:
    """Examine a dataset (folder or hub id); ``frames=False`` leaves the pictures undecoded.

    A dataset that cannot be opened at all gives one error finding, not an exception.
    """
    found = Collector()
    try:
        dataset = open_dataset(root)
    except JepaflowError as error:
        found.add("error", "cannot-open", str(error), "See the sentence.", file=root)
        return Diagnosis(str(root), "unknown", 0, 0, [], list(found))
    return examine_dataset(dataset, found, frames)


def examine_dataset(dataset: Dataset, found: Collector, frames: bool = True) -> Diagnosis:
    """Examine an open dataset, adding to ``found``."""
    found.extend(dataset.problems)
    values, pictures, total = ValueChecks(dataset), FrameChecks(dataset), 0
    if isinstance(dataset, LeRobotDataset):
        check_structure(dataset, found)
    with progress(
        "Examining frames" if frames else "Examining rows", sum(e.length for e in dataset.episodes)
    ) as advance:
        for episode in dataset.episodes:
            rows = None
            if isinstance(dataset, LeRobotDataset):
                with found.guard("the rows", file=episode.data, episode=episode.index):
                    rows = read_rows(dataset, episode, found)
                if rows is not None:
                    total += len(next(iter(rows.values())))
                    with found.guard("the rows", file=episode.data, episode=episode.index):
                        check_rows(dataset, episode, rows, found)
                    with found.guard("the values", file=episode.data, episode=episode.index):
                        values.add(episode, rows)
            else:
                total += episode.length
            if frames and (rows is not None or not isinstance(dataset, LeRobotDataset)):
                with found.guard("the frames", episode=episode.index):
                    pictures.add(episode, rows, found)
            advance(episode.length, note=f"episode {episode.index}")
    with found.guard("the values of the whole dataset"):
        values.finish(found)
    if frames:
        with found.guard("the pictures of the whole dataset"):
            pictures.finish(found)
    cameras = [camera.name for camera in dataset.cameras]
    return Diagnosis(dataset.root.resolve().name, dataset.version, len(dataset.episodes), total, cameras, list(found))
