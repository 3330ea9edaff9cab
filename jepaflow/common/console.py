"""The one console and the one progress bar.

Every long job shows its phase, a count and the elapsed time in the same way. The bar writes to stderr, so that
the standard output of a command stays clean for pipes; where there is no terminal, one line per phase is printed
when it ends (a log file full of redrawn bars helps nobody).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=False, soft_wrap=True, highlight=False)
_progress_console = Console(stderr=True)

Item = TypeVar("Item")


@contextmanager
def progress(phase: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Show one phase of work; yields ``advance(n=1, note="")``.

    Args:
        phase: name of the phase, as shown.
        total: number of units of work, or None if unknown.
    """
    begin, done = time.monotonic(), 0
    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=_progress_console,
        transient=False,
        disable=not _progress_console.is_terminal,
    )
    with bar:
        task = bar.add_task(phase, total=total, note="")

        def advance(n: int = 1, note: str | None = None) -> None:
            nonlocal done
            done += n
            if note is None:
                bar.update(task, advance=n)
            else:
                bar.update(task, advance=n, note=note)

        yield advance
    if bar.disable:
        _progress_console.print(
            f"{phase}: {done}{'' if total is None else f'/{total}'} in {time.monotonic() - begin:.1f} s"
        )


def track(items: Iterable[Item], phase: str, total: int | None = None) -> Iterator[Item]:
    """Iterate over ``items`` under a progress bar named ``phase``."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(phase, total) as advance:
        for item in items:
            yield item
            advance()
