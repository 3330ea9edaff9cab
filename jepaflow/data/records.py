"""Metadata written by others, taken with care: every number is asked for by name, and a wrong one names its place.

Where an episode lies must be clear, so a bad number there is an error. What ``info.json`` promises besides (totals,
shapes, rates) is set aside when it makes no sense, and becomes a finding.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepaflow.common.errors import JepaflowError
from jepaflow.data.types import Finding

_MOST = (
    10_000_000  # episodes or frames of a size that nobody has: a total beyond it is a slip, and would fill the memory
)
_LARGEST = 2**53  # beyond it, numbers read from JSON are no longer exact


@dataclass(frozen=True)
class Record:
    """One object of the metadata (a JSON line, a table row) and where it stands."""

    where: str
    values: Mapping[str, Any]

    def number(self, key: str, default: float | int | None = None) -> float:
        """The finite number under ``key``; ``default``, if one is given, stands for an absent one or null.

        Raises:
            JepaflowError: when there is no number.
        """
        value = self.values.get(key)
        if value is None and default is not None:
            return float(default)
        found = as_number(value)
        if found is None:
            said = "is missing" if value is None else f"is {_shown(value)}, which is no number"
            raise JepaflowError(f"{self.where}: {key} {said}. Correct it or restore the file.")
        return found

    def whole(self, key: str, default: int | None = None) -> int:
        """Like :meth:`number`, for a whole number from 0."""
        value = self.number(key, default)
        if not 0 <= value <= _LARGEST or value != int(value):
            raise JepaflowError(f"{self.where}: {key} is {value:g}, not a count. Correct it or restore the file.")
        return int(value)


def as_number(value: Any) -> float | None:
    """A finite number, also one written as text ("10"); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_records(path: Path) -> list[Record]:
    """The objects of a JSON-lines file.

    Raises:
        JepaflowError: naming the line that is no JSON object, or the file that is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise JepaflowError(f"{path} cannot be read as text ({error}). Restore the file.") from error
    records = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                values = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise JepaflowError(f"{path}, line {number} is not JSON ({error}). Restore the file.") from error
            if not isinstance(values, dict):
                raise JepaflowError(f"{path}, line {number} is {_shown(values)}, not an object. Restore the file.")
            records.append(Record(f"{path}, line {number}", values))
    return records


def clean_info(info: Mapping[str, Any], problems: list[Finding]) -> dict[str, Any]:
    """``info.json`` with what makes no sense left out; every such thing becomes a problem."""

    def complain(what: str, value: Any, expected: str) -> None:
        sentence = f"{what} is {_shown(value)}, not {expected}; it is ignored."
        problems.append(Finding("error", "bad-info", sentence, "Correct it: other tools fail on it.", "meta/info.json"))

    clean: dict[str, Any] = {**info, "features": {}}
    for key in ("fps", "total_episodes", "total_frames", "chunks_size"):
        value, lowest = info.get(key), 0 if key.startswith("total") else 1e-6
        number = as_number(value)
        if value is not None and not (number is not None and lowest <= number <= _MOST and _is_count(key, number)):
            complain(key, value, "a number that makes sense")
            number = None
        elif isinstance(value, str):
            sentence = f"{key} is written as text ({_shown(value)}); it is taken as a number."
            problems.append(Finding("warning", "bad-info", sentence, "Write a number.", "meta/info.json"))
        clean[key] = number if number is None or key == "fps" else int(number)
    for key in ("data_path", "video_path"):
        if not isinstance(info.get(key), str | None):
            complain(key, info[key], "a path")
            clean[key] = None
    for key, feature in info["features"].items():
        if isinstance(feature, dict):
            clean["features"][key] = _clean_feature(key, feature, complain)
        else:
            complain(f"The feature {key}", feature, "a description")
    return clean


def _clean_feature(key: str, feature: dict[str, Any], complain: Any) -> dict[str, Any]:
    clean = dict(feature)
    shape = feature.get("shape")
    sides = [as_number(side) for side in shape] if isinstance(shape, list) else []
    if shape is not None and not (isinstance(shape, list) and all(_is_side(side) for side in sides)):
        complain(f"The shape of {key}", shape, "a list of positive whole numbers")
        clean["shape"] = None
    elif shape is not None:
        clean["shape"] = [int(side) for side in sides if side is not None]
    for name in ("info", "video_info"):
        if not isinstance(feature.get(name), dict | None):
            complain(f"{name} of {key}", feature[name], "an object")
            del clean[name]
    if not isinstance(feature.get("dtype"), str | None):
        complain(f"The dtype of {key}", feature["dtype"], "a name")
        clean["dtype"] = None
    return clean


def _is_count(key: str, number: float) -> bool:
    return key == "fps" or number == int(number)


def _is_side(side: float | None) -> bool:
    return side is not None and 0 < side <= _MOST and side == int(side)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "..."
