"""`jepaflow probe RUN`: what can be read from a run's latents, real and imagined, beside what needs no trained model."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from jepaflow.common.console import console
from jepaflow.common.files import atomic_path
from jepaflow.common.results import write_results
from jepaflow.diagnosis.foresight import AHEAD
from jepaflow.diagnosis.probe_data import LATENT
from jepaflow.diagnosis.probe_figure import draw_probes, words
from jepaflow.diagnosis.probe_floors import FLOORS
from jepaflow.diagnosis.probes import KINDS, ProbeOptions, Probes, probe_run
from jepaflow.diagnosis.words import number, show
from jepaflow.training.checkpoint import load_run


@dataclass(frozen=True)
class DatasetArgs:
    """Which store to judge on."""

    path: Path | None = None
    """A store to use instead of the run's own."""


@dataclass(frozen=True)
class Args:
    """Read joints, places, angles, speeds and touch from latents: probes fitted on training episodes, judged on held-out ones."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder of jepaflow train."""
    dataset: DatasetArgs = field(default_factory=DatasetArgs)
    """Which store to judge on."""
    episodes: int = ProbeOptions.episodes
    """Fit on at most this many training episodes."""
    held: int = ProbeOptions.held
    """Judge on at most this many held-out episodes."""
    draws: int = ProbeOptions.draws
    """Resamples of the intervals."""
    seed: int = 0
    """Of the choice of episodes, the probes, the resamples and the untrained encoder."""
    device: str = "auto"
    """auto, cpu or cuda: where frames are encoded."""
    name: str = "probe"
    """What the names of rows in --json begin with."""
    json: Path | None = None
    """Write the figures to this file as well; they are always in RUN/diagnosis/probes.json."""


def run(args: Args) -> int:
    """Run the command."""
    options = ProbeOptions(args.episodes, args.held, args.draws, args.seed)
    probes = probe_run(load_run(args.run, args.device), args.dataset.path, options)
    folder, command = args.run / "diagnosis", _command(args)
    write_results(folder / "probes.json", command, probes.rows())  # the report knows these names
    with atomic_path(folder / "probes.png") as temporary:
        temporary.write_bytes(draw_probes(probes))
    _print(probes)
    console.print(f"Figures: {folder / 'probes.json'}, drawn: {folder / 'probes.png'}")
    if args.json is not None:
        write_results(args.json, command, probes.rows(args.name), keep=True)
        console.print(f"Figures: {args.json}")
    return 0


def _command(args: Args) -> str:
    """What a reader types to get the same figures."""
    typed = ["jepaflow", "probe", str(args.run)]
    if args.dataset.path is not None:
        typed += ["--dataset.path", str(args.dataset.path)]
    for name in ("episodes", "held", "draws", "seed", "name", "json"):
        value = getattr(args, name)
        if value != Args.__dataclass_fields__[name].default:
            typed += [f"--{name}", str(value)]
    return shlex.join(typed)


def _print(probes: Probes) -> None:
    console.print(_scores(probes))
    if any(asked.yes_no for asked in probes.asked):
        console.print(_areas(probes))
    console.print(_floors(probes))
    if any(source.startswith("ahead") for _, _, source in probes.scores):
        console.print(_ahead(probes))
    for name in probes.facts["left_out"]:
        console.print(f"{words(name)}: left out, it does not vary among these episodes.")
    facts = probes.facts
    seen = "sees pixels and is told the joints" if facts["proprio"] else "sees pixels alone"
    console.print(f"The model {seen}; its held-out episodes: {facts['held_out_because']}.")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("target")  # wraps, so that no figure is cut
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _scores(probes: Probes) -> Table:
    facts = probes.facts
    title = (
        f"{facts['run']}, step {facts['checkpoint_step']}: probes fitted on {facts['train_frames']} frames of "
        f"{facts['train_episodes']} training episodes, judged on {facts['held_frames']} frames of "
        f"{facts['held_episodes']} held-out ones. MSE of z-scores; r with 95 % interval"
    )
    table = _table(title, "MSE", "linear r", "MSE", "MLP r")
    for asked in probes.asked:
        known = [probes.scores[asked.name, kind, LATENT] for kind in KINDS]
        table.add_row(words(asked.name), *(text for one in known for text in (number(one.mse.value), show(one.r, 3))))
    return table


def _areas(probes: Probes) -> Table:
    table = _table("Yes or no: AUROC with 95 % interval (chance 0.5)", "linear", "MLP")
    for asked in (one for one in probes.asked if one.yes_no):
        areas = [probes.scores[asked.name, kind, LATENT].auroc for kind in KINDS]
        table.add_row(words(asked.name), *("" if area is None else show(area, 3) for area in areas))
    return table


def _floors(probes: Probes) -> Table:
    used = [floor for floor in FLOORS if any(source == floor for _, _, source in probes.scores)]
    table = _table("Floors: r, linear / MLP, of the same probes on what needs no trained model", *used)
    for asked in probes.asked:
        found = [[probes.floors(asked.name, kind).get(floor) for kind in KINDS] for floor in used]
        table.add_row(words(asked.name), *(" / ".join(number(r) for r in pair if r is not None) for pair in found))
    return table


def _ahead(probes: Probes) -> Table:
    title = (
        "Imagined latents, open loop: r of a linear probe fitted to real ones "
        "(and read from the last real latent, from the real one of that moment)"
    )
    table = _table(title, *(f"{steps} step{'s' * (steps > 1)} ahead" for steps in AHEAD))
    for asked in probes.asked:
        cells = []
        for steps in AHEAD:
            found = [probes.get(asked.name, "linear", f"{source}{steps}") for source in ("ahead", "still", "real")]
            r = [number(one.r.value) for one in found if one is not None]
            cells.append(f"{r[0]} ({r[1]}, {r[2]})" if r else "")
        table.add_row(words(asked.name), *cells)
    return table
