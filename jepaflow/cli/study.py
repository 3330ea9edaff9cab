"""``jepaflow study NAME``: whole experiments, trained and measured many times, resumable, drawn and written down.

``density`` and its like are published: ``results/studies/NAME``, and pages by ``jepaflow study publish``. ``tension`` and
``horizon`` write rows and a picture.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row, write_results
from jepaflow.studies.campaign import Campaign, Design
from jepaflow.studies.cells import Study
from jepaflow.training.config import TrainConfig


@dataclass(frozen=True)
class Common:
    """What all studies take."""

    output_dir: Path
    """folder of the study; run again, it takes the cells that are there and goes on with the rest"""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    seeds: int = 3
    """trainings of each setting; their seeds count from --seed"""
    frames: int = 48_000
    """frames that each cell is trained on, with repetition: it sets the optimizer steps"""
    json: Path | None = None
    """write the rows to this file; its other rows stay"""
    report: Path | None = None
    """draw the figure into this PNG"""

    def __post_init__(self) -> None:
        if self.train.steps != TrainConfig().steps:
            raise JepaflowError("A study's steps follow from --frames. Leave --steps out.")
        if len(self.train.dataset.path) != 1:
            raise JepaflowError("A study needs one store: --dataset.path X.h5 (made by jepaflow convert).")


@dataclass(frozen=True)
class Tension(Common):
    """Sweep SIGReg's weight: prediction skill against Gaussianity, effective rank and what can be read, the knee marked."""

    lambdas: tuple[float, ...] = (0.0, 0.01, 0.05, 0.2, 0.8)
    """weights of SIGReg"""


@dataclass(frozen=True)
class Horizon(Common):
    """Skill far ahead, open loop, and what a rollout loss and a longer history buy at equal frames."""

    seeds: int = 2
    """trainings of each remedy; their seeds count from --seed"""
    remedies: tuple[str, ...] = ("rollout", "long_rollout", "long_history", "both")
    """what is compared with the plain training"""
    horizon: int = 50
    """model steps to look ahead"""


@dataclass(frozen=True)
class Published:
    """What all published studies take."""

    stores: ClassVar[int] = 1
    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    name: str | None = None
    """of the study's folders; the study's own name when not given"""
    output_dir: Path | None = None
    """where the runs lie; run again, the study takes those that are there and goes on. runs/studies/NAME when not given"""
    results_dir: Path = Path("results/studies")
    """runs.jsonl, summary.json and report.html go to NAME in this folder"""
    seeds: int = 3
    """trainings of each setting; their seeds count from --seed"""
    runs: int | None = None
    """do at most so many runs now; the same command goes on with the others"""
    ray: str | None = None
    """run on Ray: local (workers on this machine), auto (the cluster that runs here), or a cluster's address; needs the extra"""
    workers: int | None = None
    """runs at a time with --ray local; one for each core when not given"""
    gpu_fraction: float = 0.0
    """share of a GPU for each run, with --ray"""
    threads: int | None = None
    """of each run in this process; runs on Ray have one"""

    def __post_init__(self) -> None:
        if len(self.train.dataset.path) != self.stores:
            wanted = "one store: --dataset.path X.h5" if self.stores == 1 else "two stores: --dataset.path A.h5 B.h5"
            raise JepaflowError(f"This study needs {wanted} (made by jepaflow convert).")
        if self.seeds < 1 or (self.runs is not None and self.runs < 1):
            raise JepaflowError("--seeds and --runs must be at least 1.")


@dataclass(frozen=True)
class Density(Published):
    """How good is a model of 5 … all episodes, and how many more are worth recording?"""

    sizes: tuple[int, ...] = ()
    """numbers of training episodes; five from 5 to all, evenly spaced in the logarithm, when not given"""
    budget: str | None = None
    """30m, 2h: choose sizes and steps so that the study takes no longer (--steps and --sizes are then left out)"""
    success: str | None = None
    """a protocol (two_room_25, so101/reach_25, ...) whose goals every model plans towards, in closed loop"""
    trials: int = 60
    """of that protocol"""


@dataclass(frozen=True)
class Views(Published):
    """Does a second camera make the model better and more stable, and what if a camera is lost or late?"""

    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(
        default_factory=lambda: TrainConfig(cameras=("pixels", "phone"))
    )
    success: str | None = None
    """a protocol (so101/reach_25, ...) whose goals every model plans towards, in closed loop"""
    trials: int = 60
    """of that protocol"""


@dataclass(frozen=True)
class Blindness(Published):
    """A model made blind on purpose by each suspected cause: which symptoms tell the causes apart?"""

    causes: tuple[str, ...] = ()
    """few, mispaired, leaky, small_skip, large_lambda, one_step; all when not given"""


@dataclass(frozen=True)
class TransferArms(Published):
    """What does a model of one arm save on another? Two stores: --dataset.path A.h5 B.h5, there and back."""

    stores: ClassVar[int] = 2
    sizes: tuple[int, ...] = (5, 20, 100)
    """episodes of the other arm"""


@dataclass(frozen=True)
class TransferFilms(Published):
    """What do films without a robot do to a model that is trained with them, and does one notice them?"""

    films: Path = Path("videos.h5")
    """a store of films (jepaflow convert FOLDER), frames of the same size as the robot's"""
    shares: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5)
    """of the training windows that are films'"""
    success: str | None = None
    """a protocol (so101/reach_25, ...) whose goals every model plans towards, in closed loop"""
    trials: int = 60
    """of that protocol"""


@dataclass(frozen=True)
class TransferLooks(Published):
    """What does a change of light, colour, camera or clutter cost a model that never saw one?"""

    looks: tuple[Path, ...] = ()
    """stores of the same motions (jepaflow collect with the same --seed and another --fix), the usual look first"""
    success: str | None = None
    """a protocol (so101/reach_25, ...) whose goals every model plans towards, in closed loop, in every look"""
    trials: int = 60
    """of that protocol"""


@dataclass(frozen=True)
class Publish:
    """Write a page and its figures for every study that has results, and an index of them."""

    results_dir: Path = Path("results/studies")
    """where the studies' results are"""
    output_dir: Path = Path("docs/studies")
    """where the pages go"""


Args = (
    Annotated[Density, tyro.conf.subcommand("density", prefix_name=False)]
    | Annotated[Views, tyro.conf.subcommand("views", prefix_name=False)]
    | Annotated[Blindness, tyro.conf.subcommand("blindness", prefix_name=False)]
    | Annotated[TransferArms, tyro.conf.subcommand("transfer-arms", prefix_name=False)]
    | Annotated[TransferFilms, tyro.conf.subcommand("transfer-films", prefix_name=False)]
    | Annotated[TransferLooks, tyro.conf.subcommand("transfer-looks", prefix_name=False)]
    | Annotated[Tension, tyro.conf.subcommand("tension", prefix_name=False)]
    | Annotated[Horizon, tyro.conf.subcommand("horizon", prefix_name=False)]
    | Annotated[Publish, tyro.conf.subcommand("publish", prefix_name=False)]
)


def run(args: Published | Tension | Horizon | Publish) -> int:
    """Run the study; 0 when every cell was trained and measured, or as many as --runs asked for."""
    if isinstance(args, Publish):
        from jepaflow.studies.pages import publish

        for page in publish(args.results_dir, args.output_dir):
            console.print(f"Page: {page}")
        return 0
    if isinstance(args, Published):
        return _published(args)
    rows, sentences = _tension(args) if isinstance(args, Tension) else _horizon(args)
    if args.json is not None:
        write_results(args.json, shlex.join(["jepaflow", *sys.argv[1:]]), rows, keep=True)
        console.print(f"Figures: {args.json}")
    if args.report is not None:
        console.print(f"Picture: {args.report}")
    for sentence in sentences:
        console.print(sentence, markup=False)
    return 0


def _tension(args: Tension) -> tuple[list[Row], list[str]]:
    from jepaflow.studies import pictures, tension
    from jepaflow.studies.runner import run_study

    study = tension.tension_study(args.train, args.frames, args.lambdas, args.seeds)
    found = tension.gather(run_study(_announced(study, args), args.output_dir))
    if args.report is not None:
        pictures.draw_tension(found, args.report, _title("The tension between foretelling and SIGReg", args))
    return tension.tension_rows(found, args.frames), tension.tension_sentences(found)


def _horizon(args: Horizon) -> tuple[list[Row], list[str]]:
    from jepaflow.data.store import Store
    from jepaflow.studies import horizon, pictures
    from jepaflow.studies.runner import run_study

    study = horizon.horizon_study(args.train, args.frames, args.remedies, args.seeds, args.horizon)
    found = horizon.gather(run_study(_announced(study, args), args.output_dir))
    if args.report is not None:
        seconds = args.train.block / Store(args.train.dataset.path[0]).fps
        title = _title("How far ahead, and what each remedy buys", args)
        pictures.draw_horizon(found, args.report, title, seconds)
    return horizon.horizon_rows(found, args.frames), horizon.horizon_sentences(found)


def _announced(study: Study, args: Common) -> Study:
    console.print(f"{study.name}: {len(study.cells)} cells of {args.frames:,} frames, in {args.output_dir}.")
    return study


def _title(what: str, args: Common) -> str:
    cell = f"{args.seeds} seed{'s' * (args.seeds != 1)} of {args.frames:,} frames"
    return f"{what} ({args.train.dataset.path[0].stem}, {args.train.preset}, {cell})"


NAMES: dict[type, str] = {
    TransferArms: "transfer_arms",
    TransferFilms: "transfer_films",
    TransferLooks: "transfer_looks",
}


def _published(args: Published) -> int:
    """Run a study, write what it found and say it; with runs left, say how many."""
    import torch

    from jepaflow.studies.campaign import conduct
    from jepaflow.studies.cluster import Cluster
    from jepaflow.studies.runner import embedded

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    name = args.name or NAMES.get(type(args), type(args).__name__.lower())
    campaign = Campaign(
        name=name,
        runs=args.output_dir or Path("runs/studies") / name,
        results=args.results_dir / name,
        execute=embedded if args.ray is None else Cluster(args.ray, args.workers, args.gpu_fraction),
        most=args.runs,
        command=shlex.join(["jepaflow", *_typed(args)]),
        stores=(*args.train.dataset.path, *_other_stores(args)),
    )
    outcome = conduct(campaign, _design(args, campaign))
    if outcome is None:
        return 0
    for sentence in outcome.answers:
        console.print(sentence, markup=False)
    console.print(f"Report: {campaign.results / 'report.html'}")
    return 0


def _other_stores(args: Published) -> tuple[Path, ...]:
    """Those beside the training's."""
    if isinstance(args, TransferLooks):
        return args.looks
    return (args.films,) if isinstance(args, TransferFilms) else ()


def _typed(args: Published) -> list[str]:
    """The words of the command that matter to its results: not how many runs at a time, or where."""
    words, kept = iter(sys.argv[1:]), []
    for word in words:
        flag, glued, value = word.partition("=")
        if (path := Path(value if glued else word)).is_absolute() and path.suffix == ".h5":
            word = f"{flag}={path.name}" if glued else path.name  # a store of this machine: as `recipe` tells it
        if flag in ("--runs", "--ray", "--workers", "--gpu-fraction", "--threads"):
            if not glued:
                next(words, None)
            continue
        kept.append(word)
    return kept


def _design(args: Published, campaign: Campaign) -> Design:
    """The study's cells and how they become an outcome."""
    from jepaflow.studies import designs

    if isinstance(args, Density):
        return designs.density(args.train, args.seeds, args.sizes, args.budget, campaign.runs, _closed_loop(args))
    if isinstance(args, Blindness):
        return designs.blindness(args.train, args.seeds, args.causes, campaign.runs)
    if isinstance(args, TransferArms):
        return designs.arms(args.train, args.seeds, args.sizes, campaign.runs)
    if isinstance(args, TransferFilms):
        return designs.films(args.train, args.seeds, args.films, args.shares, campaign.runs, _closed_loop(args))
    if isinstance(args, TransferLooks):
        return designs.looks(args.train, args.seeds, args.looks, _closed_loop(args))
    assert isinstance(args, Views)
    return designs.views(args.train, args.seeds, _closed_loop(args))


def _closed_loop(args: Density | Views | TransferFilms | TransferLooks) -> tuple[str, int] | None:
    """Protocol and trials; None when none is asked for."""
    return None if args.success is None else (args.success, args.trials)
