"""Which rows to measure."""

from collections.abc import Mapping
from typing import TypeVar

from jepaflow.common.errors import JepaflowError

Maker = TypeVar("Maker")


def choose(makers: Mapping[str, Maker], wanted: tuple[str, ...]) -> list[Maker]:
    """Return the makers of the rows asked for, all when none is.

    Raises:
        JepaflowError: a row is not known.
    """
    for name in wanted:
        if name not in makers:
            raise JepaflowError(f"There is no row {name!r} here. Choose among {', '.join(makers)}.")
    return [make for name, make in makers.items() if not wanted or name in wanted]
