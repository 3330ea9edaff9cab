"""``jepaflow language fit|verify|clone RUN``: what sentences mean to a run, which of its frames satisfy them, the clone that reads them."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import write_json
from jepaflow.common.results import Row, write_results
from jepaflow.subgoals.language.doing import DoerConfig, fit_doer, load_doer
from jepaflow.subgoals.language.encoders import make_encoder
from jepaflow.subgoals.language.grounding import LanguageConfig, fit_language, folder_of, labelled, load_language
from jepaflow.subgoals.language.judging import reader_rows, retrieval_row, seer_rows
from jepaflow.subgoals.language.paraphrase import puts
from jepaflow.subgoals.language.reading import ReaderConfig, train_reader
from jepaflow.subgoals.language.text_clone import TextCloneConfig, train_text_clone
from jepaflow.training.checkpoint import load_run
from jepaflow.training.corpus import open_corpora

RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True)
class Fit:
    """Learn to read sentences, to see what they ask for, and to do it: RUN/language/. About four minutes, and ten for the doer."""

    run: RunFolder
    """Run folder of jepaflow train."""
    config: Annotated[LanguageConfig, tyro.conf.arg(name="")] = field(default_factory=LanguageConfig)
    """How to fit."""
    doer: DoerConfig = field(default_factory=DoerConfig)
    """How to train what does a clause (for runs with observation.state)"""
    act: bool = True
    """Train it; without it a clause is done by walking from landmark to landmark"""
    dataset: tuple[Path, ...] = ()
    """Where the run's stores lie now; where they lay when it was trained if not given."""


@dataclass(frozen=True)
class Verify:
    """Measure both on held-out episodes and unseen wordings."""

    run: RunFolder
    """Run folder with language."""
    seeds: int = 3
    """readers judged for each encoder: all are trained anew, a minute each; 0: only the fitted one"""
    encoders: tuple[str, ...] = ("minilm", "hashed")
    """judged with so many seeds"""
    dataset: tuple[Path, ...] = ()
    """Where the run's stores lie now."""
    json: Path | None = None
    """Write the rows to this file, whose other rows stay, and the confusion matrices to a folder of its name."""

    def __post_init__(self) -> None:
        if self.seeds < 0:
            raise JepaflowError("--seeds must not be negative.")


@dataclass(frozen=True)
class Clone:
    """Train the baseline that reads sentences itself: behaviour cloning on the text embedding. As long as the run took.

    Interrupted, it goes on where it was saved last.
    """

    run: RunFolder
    """Run folder of jepaflow train."""
    config: Annotated[TextCloneConfig, tyro.conf.arg(name="")] = field(default_factory=TextCloneConfig)
    """How to train."""
    dataset: tuple[Path, ...] = ()
    """Where the run's stores lie now; where they lay when it was trained if not given."""
    device: str = "auto"
    """auto, cpu or cuda"""
    json: Path | None = None
    """Write the rows to this file; its other rows stay."""


Options = Fit | Verify | Clone

Args = (
    Annotated[Fit, tyro.conf.subcommand("fit", prefix_name=False)]
    | Annotated[Verify, tyro.conf.subcommand("verify", prefix_name=False)]
    | Annotated[Clone, tyro.conf.subcommand("clone", prefix_name=False)]
)


def run(args: Options) -> int:
    """Run the sub-command."""
    match args:
        case Fit():
            return _fit(args)
        case Verify():
            return _verify(args)
        case Clone():
            return _clone(args)


def _fit(args: Fit) -> int:
    loaded = load_run(args.run, "cpu")
    found = fit_language(loaded, args.config, args.dataset)
    if args.act and loaded.model.config.proprio_dim:
        try:
            fit_doer(loaded, found, args.doer, args.dataset)
        except JepaflowError as error:  # the language is whole without it
            console.print(f"No doer, so that a clause will be done by walking from landmark to landmark: {error}")
    things = ", ".join(str(thing) for thing in dict.fromkeys(found.seer.things()))
    console.print(
        f"Learned from {found.report['episodes']} episodes, calibrated on {found.report['set_aside']}. Knows {things}.\n"
        f"Language: {folder_of(args.run)}"
    )
    return 0


def _verify(args: Verify) -> int:
    loaded = load_run(args.run, "cpu")
    found = load_language(loaded)
    _, held_out = open_corpora(loaded, args.dataset)
    doer = load_doer(args.run)
    rows = seer_rows(found, held_out.stores, held_out.where, doer.pointer if doer else None)
    retrieved = retrieval_row(found, held_out.stores, labelled(held_out.stores, held_out.where))
    rows += [retrieved] if retrieved else []
    names = args.encoders if args.seeds else (found.ground.encoder.name,)
    for name in names:
        encoder = make_encoder(name) if args.seeds else found.ground.encoder
        readers = [train_reader(encoder, replace(ReaderConfig(), seed=seed)) for seed in range(args.seeds)]
        more, confused = reader_rows(readers or [found.ground], name)
        rows += more
        words = [str(clause) for clause in puts()]
        folder = folder_of(args.run) if args.json is None else args.json.parent / args.json.stem
        table = {"rows": words, "columns": [*words, "something else", "refused"], "counts": confused.tolist()}
        write_json(folder / f"confusion_{name}.json", table)
    console.print(_table(rows))
    if args.json is not None:
        write_results(args.json, shlex.join(["jepaflow", *sys.argv[1:]]), rows, keep=True)
    return 0


def _clone(args: Clone) -> int:
    command = shlex.join(["jepaflow", *sys.argv[1:]])
    record = train_text_clone(load_run(args.run, args.device), args.config, command, args.dataset)
    rows = [Row(**row) for row in record["rows"]]
    console.print(_table(rows, "Text clone"))
    console.print(f"Learned from {record['episodes']} episodes. Made: {args.run / 'text_clone.safetensors'}")
    if args.json is not None:
        write_results(args.json, command, rows, keep=True)
    return 0


def _table(rows: list[Row], title: str = "Grounding") -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("figure", "value (95 %)", "n", "floors"):
        table.add_column(column, justify="right" if column == "n" else "left", no_wrap=column != "floors")
    for row in rows:
        floors = ", ".join(f"{name} {value:.2f}" for name, value in row.floors.items())
        table.add_row(row.name, f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]", str(row.n), floors)
    return table
