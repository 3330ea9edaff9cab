"""Tables of a report: rows as cells that a few lines of script can sort, every figure beside its interval and floors."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jepaflow.common.results import Row
from jepaflow.diagnosis.ranking import beats_floors, best, direction
from jepaflow.diagnosis.words import among, label, plain

# Units that a figure's name says already.
PLAIN_UNITS = ("fraction", "r", "skill", "AUROC")


@dataclass(frozen=True)
class Cell:
    """One cell: what is read, what it is sorted by (the text itself when None), soft words behind and under it, its look.

    ``mark`` is a CSS class: ``good``, ``bad``, ``best``, ``name`` (left, may wrap) or nothing.
    """

    text: str
    sort: int | float | None = None
    small: str = ""
    mark: str = ""
    under: str = ""


@dataclass(frozen=True)
class Table:
    """A sortable table."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    key: str = ""


def figures_table(rows: Sequence[Row], key: str = "figures", notes: bool = True) -> Table:
    """Every row: name, value with interval, floors, ceilings, whether it lies above its floors, how many trials."""
    head = ("figure", "value", "95 % interval", "floors", "ceilings", "beats its floors", "n")
    return Table(head, tuple(_line(row, notes) for row in rows), key)


def _line(row: Row, notes: bool) -> tuple[Cell, ...]:
    beats = beats_floors(row)
    width = row.high - row.low
    return (
        Cell(label(row.name), under=f"{row.name}: {row.note}" if notes else row.name, mark="name"),
        Cell(plain(row.value), row.value, row.unit if row.unit not in PLAIN_UNITS else ""),
        Cell(f"[{plain(row.low)}, {plain(row.high)}]" if width > 0 else "–", width),
        Cell(among(row.floors), max(row.floors.values(), default=0.0), mark="name"),
        Cell(among(row.ceilings), max(row.ceilings.values(), default=0.0), mark="name"),
        Cell(*{True: ("surely", 2), False: ("not surely", 0), None: ("–", 1)}[beats], mark=_mark(beats)),
        Cell(f"{row.n:,}", row.n),
    )


def _mark(beats: bool | None) -> str:
    return {True: "good", False: "bad", None: ""}[beats]


def probe_table(rows: Sequence[Row]) -> Table | None:
    """The paper's form, one line a target: MSE and r of the linear and the MLP probe, the best floor, r of imagined latents.

    None when these are no probes.
    """
    known: dict[str, dict[str, Row]] = {}
    for row in rows:
        if found := re.fullmatch(r"probes?/([^/]+)/(linear|mlp)/(.+)", row.name):
            known.setdefault(found.group(1), {})[f"{found.group(2)}/{found.group(3)}"] = row
    if not known:
        return None
    ahead = sorted({k for each in known.values() for k in each if k.startswith("linear/ahead")}, key=_steps)[-1:]
    head = ["what", "linear r", "best floor, linear r", "MLP r", "best floor, MLP r", "linear MSE", "MLP MSE"]
    head += [f"linear r, imagined {_steps(name)} model steps ahead" for name in ahead]
    lines = []
    for target, each in known.items():
        line = [Cell(target.replace("_", " "), mark="name")]
        for kind in ("linear", "mlp"):
            line += [_value(each.get(f"{kind}/r"), True), _floor(each.get(f"{kind}/r"))]
        line += [_value(each.get(f"{kind}/mse")) for kind in ("linear", "mlp")]
        line += [_value(each.get(name), True) for name in ahead]
        lines.append(tuple(line))
    return Table(tuple(head), tuple(lines), "probes")


def _steps(name: str) -> int:
    found = re.search(r"\d+", name)
    return int(found.group()) if found else 0


def _value(row: Row | None, marked: bool = False) -> Cell:
    if row is None:
        return Cell("–", float("-inf"))
    return Cell(
        plain(row.value),
        row.value,
        f"[{plain(row.low)}, {plain(row.high)}]" if row.high > row.low else "",
        _mark(beats_floors(row)) if marked else "",
    )


def _floor(row: Row | None) -> Cell:
    if row is None or not row.floors:
        return Cell("–", float("-inf"))
    name, value = max(row.floors.items(), key=lambda item: item[1])
    return Cell(plain(value), value, name.replace("_", " "))


def compare_table(names: Sequence[str], runs: Sequence[Mapping[str, Row]], key: str = "compare") -> Table:
    """One line a figure, one column a run; the best is marked where its interval lies clear of all others.

    Args:
        names: of the runs.
        runs: rows by name, one mapping a run.
        key: of the table.
    """
    figures = list(dict.fromkeys(name for rows in runs for name in rows))
    lines = []
    for figure in figures:
        rows = [each.get(figure) for each in runs]
        winner = best(rows)
        some = next(row for row in rows if row is not None)
        way = {"higher": "higher", "lower": "lower", None: "neither"}[direction(some)]
        cells = [_compared(row, index == winner) for index, row in enumerate(rows)]
        unit = "" if some.unit in PLAIN_UNITS else f", {some.unit}"
        lines.append((Cell(label(figure), under=figure + unit, mark="name"), *cells, Cell(way)))
    return Table(("figure", *names, "better is"), tuple(lines), key)


def _compared(row: Row | None, winner: bool) -> Cell:
    if row is None:
        return Cell("–", float("-inf"))
    inside = f"[{plain(row.low)}, {plain(row.high)}]" if row.high > row.low else ""
    floors = f"floors: {among(row.floors)}" if row.floors else ""
    return Cell(plain(row.value), row.value, inside, "best" if winner else "", floors)
