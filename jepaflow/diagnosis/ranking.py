"""Which way is better, is a figure above its floors, and which of several is best. Never without an interval.

A figure beats its floors only when its whole interval lies on the better side of every floor, and one of several
figures is the best only when its interval lies clear of every other one: where intervals overlap nothing is marked.
"""

import re
from collections.abc import Sequence
from typing import Literal

from jepaflow.common.results import Row

Direction = Literal["higher", "lower"]

# Last words of a row's name (or its unit) that say which way is better; what is in NEITHER has no better side.
LOWER = re.compile(r"(^|[/_@])(mse|rmse|mae|error|false|false_alarms?|delay|neighbours|open_loop_belief)([/_@]|$)")
NEITHER = re.compile(
    r"^(skill_shuffled|effective_rank|latent_spread|straightness|mse|not_normal|normality_by_time)(@|$)|(^|/)(colour|color)(_|/|$)"
)
# A row's own name begins at one of these words; what stands before it names the run or the setting.
TOPIC_WORDS = ("probe", "surprise", "slip", "monitor", "alarm", "decoder", "imagine", "horizon", "tension")


def own_name(name: str) -> str:
    """A row's name without the run in front: ``so101/probe/tcp/linear/r`` becomes ``probe/tcp/linear/r``."""
    found = re.search(rf"(?:^|/)((?:{'|'.join(TOPIC_WORDS)})s?/.*)$", name)
    return found.group(1) if found else name


def direction(row: Row) -> Direction | None:
    """Which side is better; None where neither is, as for the effective rank."""
    name = own_name(row.name)
    if NEITHER.search(name):
        return None
    return "lower" if LOWER.search(name) else "higher"


def has_interval(row: Row) -> bool:
    """Whether the bounds are an interval; where there is none they repeat the value, and the note says so."""
    return row.low < row.high or "no interval" not in row.note


def beats_floors(row: Row) -> bool | None:
    """Whether the whole interval lies beyond every floor; None without an interval, a floor or a better side."""
    way = direction(row)
    if way is None or not row.floors or not has_interval(row):
        return None
    return row.low > max(row.floors.values()) if way == "higher" else row.high < min(row.floors.values())


def best(rows: Sequence[Row | None]) -> int | None:
    """Index of the row that is surely the best of several of one name; None when their intervals overlap.

    Args:
        rows: the same figure of several runs; None where a run lacks it.
    """
    known = [(index, row) for index, row in enumerate(rows) if row is not None]
    if len(known) < 2:
        return None
    way = direction(known[0][1])
    if way is None or not all(has_interval(row) for _, row in known):
        return None
    index, first = (max if way == "higher" else min)(known, key=lambda item: item[1].value)
    others = [row for other, row in known if other != index]
    clear = all(first.low > r.high for r in others) if way == "higher" else all(first.high < r.low for r in others)
    return index if clear else None
