"""`jepaflow benchmark plan|train|load|convert|weight|subgoals`: ours and a plain reference in turn, as ratios of one run.

The benchmarks and their references belong to the repository, not to the package: an installed wheel has the command but
nothing to run, and says so.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from jepaflow.common.errors import JepaflowError


@dataclass(frozen=True)
class Budget:
    """How much is searched and how often it is measured."""

    samples: int = 300
    """plans tried per iteration; a tenth of them are elites"""
    iterations: int = 30
    horizon: int = 5
    """blocks of a plan"""
    repeats: int = 3
    """pairs, of ours and of the reference"""
    part: int | None = None
    """measure so many of the iterations only and scale the rest; the note says so"""
    dino_samples: int = 2
    """plans tried by the model of DINO-WM's size, in one iteration; scaled"""

    def __post_init__(self) -> None:
        for name in ("samples", "iterations", "horizon", "repeats", "part", "dino_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise JepaflowError(f"--budget.{name.replace('_', '-')} is {value}; it must be at least 1.")
        if self.part is not None and self.part > self.iterations:
            raise JepaflowError(f"--budget.part is {self.part}; a plan has only {self.iterations} iterations.")

    @property
    def measured(self) -> int:
        """Iterations that are run."""
        return self.part or self.iterations

    @property
    def elites(self) -> int:
        """Plans that the next Gaussian is fitted to."""
        return max(1, self.samples // 10)


@dataclass(frozen=True)
class Plan:
    """A plan: LeWorldModel's plain search, a model of DINO-WM's size, the inverse head; and how its time grows."""

    budget: Budget = field(default_factory=Budget)
    """The paper's by default."""
    rows: tuple[str, ...] = ()
    """Rows to measure, e.g. lewm_weights useful_plan_ms scaling; all when not given."""
    preset: str = "paper"
    """Size of LeWorldModel in these rows; anything but paper is for trying out."""
    device: str = "auto"
    """auto, cpu or cuda."""
    json: Path | None = None
    """Write the rows to this file; its other rows stay."""


@dataclass(frozen=True)
class Train:
    """A training step against the plain PyTorch module, in bf16 autocast and in float32."""

    presets: tuple[str, ...] = ("nano", "small")
    """Models to measure with."""
    batch_size: int = 64
    steps: int = 3
    """steps timed together"""
    repeats: int = 5
    curve: int = 20
    """steps of the loss curves that are compared"""
    seeds: int = 3
    """curves"""
    rows: tuple[str, ...] = ()
    """Rows to measure, e.g. vs_plain_step loss_difference scaling; all when not given."""
    device: str = "auto"
    """auto, cpu or cuda."""
    json: Path | None = None
    """Write the rows to this file; its other rows stay."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 2), ("steps", 1), ("repeats", 1), ("curve", 2), ("seeds", 1)):
            if getattr(self, name) < least:
                raise JepaflowError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least {least}."
                )


@dataclass(frozen=True)
class Load:
    """Random windows from the store against the same from mp4, and against the size of the store."""

    dataset: tyro.conf.Positional[Path]
    """Folder of a LeRobot v2.1 dataset (one mp4 an episode)."""
    repeats: int = 5
    windows: int = 2048
    """windows read from the store at a time"""
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    """frames of the stores whose reading is compared"""
    json: Path | None = None
    """Write the rows to this file; its other rows stay."""

    def __post_init__(self) -> None:
        if self.repeats < 1 or self.windows < 32:
            raise JepaflowError("--repeats must be at least 1 and --windows at least 32, one batch.")


@dataclass(frozen=True)
class Convert:
    """jepaflow convert against decoding the same videos and nothing else."""

    dataset: tyro.conf.Positional[Path]
    """Folder of a LeRobot v2.1 dataset (one mp4 an episode)."""
    repeats: int = 5
    workers: int = 2
    """What several processes gain over one is measured with so many."""
    json: Path | None = None
    """Write the rows to this file; its other rows stay."""

    def __post_init__(self) -> None:
        if self.workers < 2:
            raise JepaflowError(f"--workers is {self.workers}; one process is what several are held against.")
        if self.repeats < 1:
            raise JepaflowError(f"--repeats is {self.repeats}; it must be at least 1.")


@dataclass(frozen=True)
class Weight:
    """Parameters, bytes, FLOP a decision and decisions a second of a run, beside what is published of ACT and of VLAs."""

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """A run folder of jepaflow train; not given: an untrained model of --preset, as an SO-101 with two cameras needs it."""
    preset: str = "nano"
    """Size of the model when no run is given."""
    decisions: int = 40
    """timed one by one"""
    device: str = "auto"
    """auto, cpu or cuda."""
    json: Path | None = None
    """Write the rows to this file; its other rows stay."""

    def __post_init__(self) -> None:
        if self.decisions < 2:
            raise JepaflowError(f"--decisions is {self.decisions}; it must be at least 2.")


@dataclass(frozen=True)
class Subgoals:
    """System 2 on a made graph of rooms: planning anew after a failed edge, drawing 1,000 plans, Dijkstra and Yen beside."""

    landmarks: int = 1024
    horizon: int = 40
    """most edges of a plan"""
    repeats: int = 30
    threads: int = 1
    json: Path | None = None
    """Write the rows to this file; its other rows stay."""

    def __post_init__(self) -> None:
        for name, least in (("landmarks", 16), ("horizon", 1), ("repeats", 1), ("threads", 1)):
            if getattr(self, name) < least:
                raise JepaflowError(f"--{name} is {getattr(self, name)}; it must be at least {least}.")


Options = Plan | Train | Load | Convert | Weight | Subgoals

Args = (
    Annotated[Plan, tyro.conf.subcommand("plan", prefix_name=False)]
    | Annotated[Train, tyro.conf.subcommand("train", prefix_name=False)]
    | Annotated[Load, tyro.conf.subcommand("load", prefix_name=False)]
    | Annotated[Convert, tyro.conf.subcommand("convert", prefix_name=False)]
    | Annotated[Weight, tyro.conf.subcommand("weight", prefix_name=False)]
    | Annotated[Subgoals, tyro.conf.subcommand("subgoals", prefix_name=False)]
)


def run(args: Options) -> int:
    """Run the command; 0 when everything was measured."""
    _find_benchmarks()
    importlib.import_module("benchmarks.entry").run(args)
    return 0


def _find_benchmarks() -> None:
    """Make the checkout's benchmarks importable: the package's own checkout, else the one that the command is typed in.

    Raises:
        JepaflowError: there is none.
    """
    for root in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (root / "benchmarks" / "entry.py").is_file():
            if str(root) not in sys.path:
                sys.path.insert(0, str(root))
            return
    raise JepaflowError(
        "The benchmarks are part of jepaflow's repository, not of the installed package. Run this in a checkout."
    )
