"""Results: one shape for every published figure, written by a command and never by hand.

A row carries the value, its interval, how many trials and seeds, and the floors and ceilings without which the
value means nothing. The file records the command, commit, date, hardware and versions that made it.
"""

import math
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, write_json


@dataclass(frozen=True)
class Row:
    """One figure. ``low`` and ``high`` bound its 95 % interval (or min–max, when the note says so)."""

    name: str
    value: float
    low: float
    high: float
    n: int
    seeds: int = 1
    unit: str = "fraction"
    floors: dict[str, float] = field(default_factory=dict)
    ceilings: dict[str, float] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            if not math.isfinite(getattr(self, name)):
                raise JepaflowError(
                    f"The result {self.name} has a {name} that is not finite. Look at the run that made it."
                )


def hardware() -> str:
    """Describe the processor (and GPU, where there is one) in a few words."""
    import torch

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    flags = ""
    if cpuinfo.exists():
        text = cpuinfo.read_text()
        name = next(
            (line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), name
        )
        flags = ", ".join(f.replace("_", "-") for f in ("amx_bf16", "avx512_bf16") if f" {f}" in text)
    parts = [f"{os.cpu_count()} cores", name, flags or torch.backends.cpu.get_cpu_capability()]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name(0))
    return ", ".join(part for part in parts if part)


def commit() -> str:
    """The commit of the checkout that this package runs from, ``+`` when it has changes, ``unknown`` outside one."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def write_results(path: Path, command: str, rows: list[Row], keep: bool = False) -> None:
    """Write ``results/<topic>.json``.

    Args:
        path: the file.
        command: what a reader types to make these rows again.
        rows: the figures.
        keep: keep the rows already in the file whose names are not among ``rows``.
    """
    old: list[dict[str, Any]] = []
    if keep and Path(path).exists():
        names = {row.name for row in rows}
        old = [
            {"command": read_json(path)["command"], **row}
            for row in read_json(path)["rows"]
            if row["name"] not in names
        ]
    write_json(
        path,
        {
            "command": command,
            "commit": commit(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "hardware": hardware(),
            "versions": {name: version(name) for name in ("torch", "numpy", "h5py", "av")},
            "rows": old + [asdict(row) for row in rows],
        },
    )
