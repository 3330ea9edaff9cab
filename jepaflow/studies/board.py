"""How far a study is: a table of settings and seeds, live on a terminal, one line for each finished cell elsewhere."""

import time
from collections.abc import Sequence
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from jepaflow.common import console as consoles
from jepaflow.common.console import console
from jepaflow.studies.cells import Cell, Result, Study

WAITING, BEGUN = "·", "▸"
SHOWN = "skill"
"""The ratio whose first horizon stands in the table."""


class Board:
    """Context in which a study runs.

    Args:
        study: what is run.
    """

    def __init__(self, study: Study) -> None:
        self.study, self.results = study, list[Result]()
        self._begun, self._waiting = time.monotonic(), set[str]()
        self._live: Live | None = None

    def __enter__(self) -> "Board":
        if console.is_terminal:
            # The trainings' own bars would write over the table: they are silent while it stands.
            own = Console(soft_wrap=True, highlight=False)
            console.quiet = consoles._progress_console.quiet = True
            self._live = Live(
                self.table(), console=own, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            console.quiet = consoles._progress_console.quiet = False

    def begin(self, cells: Sequence[Cell]) -> None:
        """These are about to be run."""
        self._waiting = {cell.title for cell in cells}
        self._show()

    def add(self, result: Result) -> None:
        """One more is finished."""
        self.results.append(result)
        if self._live is None:
            console.print(self._line(), markup=False)
        self._show()

    def _show(self) -> None:
        if self._live is not None:
            self._live.update(self.table(), refresh=True)

    def table(self) -> Table:
        """Settings down, seeds across; skill one step ahead where it is known."""
        seeds = sorted({cell.seed for cell in self.study.cells})
        done = {result.cell.title: result for result in self.results}
        title = f"{self.study.name}: {len(done)} of {len(self.study.cells)} runs{self._left()}"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("setting")
        for seed in seeds:
            table.add_column(f"seed {seed}", justify="right")
        for name in dict.fromkeys(cell.name for cell in self.study.cells):
            table.add_row(name, *(self._entry(f"{name}, seed {seed}", done) for seed in seeds))
        return table

    def _entry(self, title: str, done: dict[str, Result]) -> str:
        if title not in done:
            return BEGUN if title in self._waiting else WAITING
        ratio = done[title].readings.ratios.get(SHOWN)
        return "✓" if ratio is None else f"{ratio.values()[0]:.2f}"

    def _left(self) -> str:
        fresh, left = sum(r.fresh for r in self.results), len(self.study.cells) - len(self.results)
        minutes = (time.monotonic() - self._begun) / max(1, fresh) * left / 60
        return f", about {minutes:.0f} min left" if fresh and left else ""

    def _line(self) -> str:
        last = self.results[-1]
        how = "measured" if last.fresh else "known already"
        return f"{self.study.name} {len(self.results)}/{len(self.study.cells)}: {last.cell.title} {how}{self._left()}"
