"""How a store was recorded, read from the dataset that it was converted from: a page's command begins with the data's."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jepaflow.common.files import read_json
from jepaflow.data.store import Store
from jepaflow.sims.collect import RECORD
from jepaflow.sims.registry import WorldOptions


def collected(store: Path) -> dict[str, Any]:
    """Return what a store's dataset was collected with; empty where no such dataset lies beside the store."""
    record = store.with_suffix("") / RECORD
    return dict(read_json(record)) if record.is_file() else {}


def recipe(stores: Sequence[Path]) -> list[str]:
    """Return the commands that make stores of simulated worlds; none for a store whose dataset tells nothing.

    Args:
        stores: as they were typed; an absolute one is told by its name, since it lies elsewhere on another machine.
    """
    lines: list[str] = []
    for path in dict.fromkeys(stores):
        if record := collected(path):
            store, place = Store(path), Path(path.name) if path.is_absolute() else path
            folder = str(place.with_suffix(""))
            size, seed = str(record["image_size"]), str(record["seed"])
            words = [
                "--env",
                record["env"],
                "--episodes",
                str(store.num_episodes),
                "--image-size",
                size,
                "--seed",
                seed,
            ]
            words += ["--mix", *(str(word) for share in record["mix"].items() for word in share)]
            words += ["--steps", *map(str, record["steps"])] if record["steps"] else []
            usual = WorldOptions()
            for name in ("cameras", "vary", "fix"):
                words += [f"--{name}", *record[name]] if tuple(record[name]) != getattr(usual, name) else []
            lines.append(shlex.join(["jepaflow", "collect", *words, "--output-dir", folder]))
            lines.append(shlex.join(["jepaflow", "convert", folder, str(place), "--image-size", str(store.image_size)]))
    return lines
