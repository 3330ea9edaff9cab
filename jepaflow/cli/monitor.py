"""``jepaflow monitor``: calibrate a run's alarms on calm episodes and measure what they notice."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from jepaflow.common.console import console
from jepaflow.common.files import atomic_path
from jepaflow.common.results import write_results
from jepaflow.diagnosis.calibration import MEANING, WINDOW
from jepaflow.diagnosis.slip_figure import TITLES, choose_example, draw_slips
from jepaflow.diagnosis.slip_rows import result_rows
from jepaflow.diagnosis.slip_study import SlipConfig, SlipStudy, run_study
from jepaflow.diagnosis.slips import LATE, Share
from jepaflow.diagnosis.words import number
from jepaflow.sims.registry import find_world
from jepaflow.training.checkpoint import load_run

SHORT = {kind: title.replace("commanded", "cmd").replace("unannounced", "quiet") for kind, title in TITLES.items()}
PICTURE = 160
"""px of the example's frames."""


@dataclass(frozen=True)
class Args:
    """Did I really grasp it? Alarms with a promised rate of false ones; slips, misses, blocks, meddling as the test."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder of jepaflow train."""
    config: Annotated[SlipConfig, tyro.conf.arg(name="")] = field(default_factory=SlipConfig)
    """What to record and what to promise."""
    device: str = "auto"
    """auto, cpu or cuda."""
    name: str = ""
    """Prefix of the rows."""
    json: Path | None = None
    """Write the figures to this file as well; RUN/diagnosis/monitor.json has them always."""


def run(args: Args) -> int:
    """Calibrate, measure, and leave monitor, figures and picture in the run's folder."""
    loaded = load_run(args.run, args.device)
    found = run_study(loaded, args.config)
    command, rows = shlex.join(["jepaflow", *sys.argv[1:]]), result_rows(found, args.name)
    folder = args.run / "diagnosis"
    write_results(folder / "monitor.json", command, rows)
    with atomic_path(folder / "monitor.png") as temporary:
        temporary.write_bytes(draw_slips(found, choose_example(found, find_world(args.config.env), PICTURE)))
    console.print(_table(found))
    console.print(_floors(found))
    console.print(_beliefs(found))
    console.print(f"Monitor: {args.run / 'monitor.json'}; figures: {folder / 'monitor.json'}, {folder / 'monitor.png'}")
    if args.json is not None:
        write_results(args.json, command, rows, keep=True)
        console.print(f"Figures: {args.json}")
    return 0


def _table(found: SlipStudy) -> Table:
    """What the monitor notices."""
    title = (
        f"Noticed within {WINDOW} and {LATE} control steps, % (95 %); delay in control steps (quartiles); rightly named, %.\n"
        f"Promised: false alarms in at most {100 * found.config.false_alarms:g} % of calm episodes; "
        f"counted in {found.monitor.false.count} of {found.monitor.false.n}"
    )
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("", f"≤ {WINDOW}", f"≤ {LATE}", "delay", "named", "n"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for kind, one in found.monitor.noticed.items():
        if len(one.delay):
            known = one.delay[np.isfinite(one.delay)]
            delay = "–" if not len(known) else "{:.0f} [{:.0f}, {:.0f}]".format(*np.percentile(known, [50, 25, 75]))
            named = Share(found.names[kind].count(MEANING[kind]), len(known))
            cells = (_percent(one.within(WINDOW)), _percent(one.within(LATE), False), delay, _percent(named, False))
            table.add_row(TITLES[kind], *cells, str(len(one.delay)))
    return table


def _floors(found: SlipStudy) -> Table:
    """What the floors notice."""
    title = f"The same calibration for what knows less, in {WINDOW} steps, %"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    kinds = [kind for kind, one in found.monitor.noticed.items() if len(one.delay)]
    for column in ("", *(SHORT[kind] for kind in kinds)):
        table.add_column(column, justify="right" if column else "left")
    for name, floor in found.floors.items():
        cells = (_percent(floor.noticed[kind].within(WINDOW), False) for kind in kinds)
        table.add_row(name.replace("_", " "), *cells)
    return table


def _percent(share: Share, interval: bool = True) -> str:
    if not share.n:
        return "–"
    low, high = share.interval
    bounds = f" [{number(100 * low, 0)}, {number(100 * high, 0)}]" if interval else ""
    return f"{number(100 * share.value, 0)}{bounds}"


def _beliefs(found: SlipStudy) -> str:
    """One sentence a kind of loss."""
    words = [f"{LATE} control steps after the loss, who still believes that it holds the cube?"]
    for kind, belief in found.beliefs.items():
        still = found.monitor.noticed[kind].within(LATE)
        if belief.imagination.n and belief.script.n:
            quiet = Share(still.n - still.count, still.n)
            words.append(
                f"  {TITLES[kind]}: the script {_percent(belief.script, False)} % (it lets go after "
                f"{number(belief.lasts, 0)}, median), the model's open-loop imagination "
                f"{_percent(belief.imagination, False)} % (of what it saw, the same probe says so "
                f"{_percent(belief.seen, False)} %), the monitor raises no alarm {_percent(quiet, False)} %."
            )
    return "\n".join(words)
