"""How a store was made, read from itself and from the dataset beside it: a page's command begins with the data's."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jepaflow.common.files import read_json
from jepaflow.data.conversion_plan import ConvertConfig
from jepaflow.data.store import Store
from jepaflow.sims.collect import RECORD
from jepaflow.sims.registry import WorldOptions, find_world


def collected(store: Path) -> dict[str, Any]:
    """Return what a store's dataset was collected with; empty where that dataset does not lie beside the store."""
    folder = store.with_suffix("")
    record = folder / RECORD
    return dict(read_json(record)) if record.is_file() and Store(store).meta.get("source") == folder.name else {}


def recipe(stores: Sequence[Path]) -> list[str]:
    """Return the commands that make these stores: how they were recorded where that is known, and how converted (but for repairs).

    Args:
        stores: as they were typed; an absolute one is told by its name, since it lies elsewhere on another machine.
    """
    lines: list[list[str]] = []
    for path in dict.fromkeys(stores):
        store, place = Store(path), Path(path.name) if path.is_absolute() else path
        folder, record = str(place.with_suffix("")), collected(path)
        if record:
            lines.append(["collect", *_recorded(record, store.num_episodes), "--output-dir", folder])
        elif source := store.meta.get("source"):
            folder = f".../{source}"
        else:
            continue
        words = ["convert", folder, str(place), "--image-size", str(store.image_size)]
        if (fit := store.meta.get("image_fit", ConvertConfig.fit)) != ConvertConfig.fit:
            words += ["--fit", fit]
        if (
            record
            and find_world(record["env"]).optional
            and tuple(record.get("cameras", store.cameras)) != store.cameras
        ):
            words += ["--cameras", *store.cameras]
        lines.append(words)
    return [shlex.join(["jepaflow", *words]) for words in lines]


def _recorded(record: Mapping[str, Any], episodes: int) -> list[str]:
    """The words of `jepaflow collect` that gave this record; what is usual is left out."""
    words = f"--env {record['env']} --episodes {episodes} --image-size {record['image_size']} --seed {record['seed']}".split()
    words += ["--mix", *(str(word) for share in record["mix"].items() for word in share)]
    words += ["--steps", *map(str, record["steps"])] if record.get("steps") else []
    for name in ("cameras", "vary", "fix"):
        usual = getattr(WorldOptions(), name)
        words += [f"--{name}", *record[name]] if tuple(record.get(name, usual)) != usual else []
    words += ["--renderer", "ray"] if record.get("renderer") == "ray" else []
    return words + (["--arm-mjcf", ".../ARM.xml"] if record.get("arm_mjcf") else [])
