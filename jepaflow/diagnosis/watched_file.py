"""Watched episodes in one file: recording them is what a measurement spends its time on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from jepaflow.common.files import atomic_path
from jepaflow.diagnosis.watched import Watched

PER_LOOK, PER_STEP = ("z", "other", "joints", "change", "held"), ("believes",)


def kept(path: Path, record: Callable[[], list[Watched]]) -> list[Watched]:
    """Read the episodes from a file, or record them into it; a damaged file is made anew."""
    try:
        return read_watched(path)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        episodes = record()
    save_watched(path, episodes)
    return episodes


def save_watched(path: Path, episodes: Sequence[Watched]) -> None:
    """Write episodes, end to end."""
    tensors = {name: torch.cat([torch.as_tensor(getattr(e, name)) for e in episodes]) for name in PER_LOOK + PER_STEP}
    tensors["blocks"] = torch.cat([e.blocks for e in episodes])
    facts = [[len(e.z), len(e.believes), e.events, e.success, e.seed] for e in episodes]
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"episodes": json.dumps(facts)})


def read_watched(path: Path) -> list[Watched]:
    """Read episodes; raises what safetensors raises where the file is missing or damaged."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        facts = json.loads(file.metadata()["episodes"])
    found, look, step, block = [], 0, 0, 0
    for looks, steps, events, success, seed in facts:
        rows = slice(look, look + looks)
        found.append(
            Watched(
                z=tensors["z"][rows],
                other=tensors["other"][rows],
                blocks=tensors["blocks"][block : block + looks - 1],
                joints=tensors["joints"][rows].numpy(),
                change=tensors["change"][rows].numpy(),
                events=tuple((str(kind), int(at)) for kind, at in events),
                held=tensors["held"][rows].numpy(),
                believes=np.asarray(tensors["believes"][step : step + steps]),
                success=bool(success),
                seed=tuple(int(part) for part in seed),
            )
        )
        look, step, block = look + looks, step + steps, block + looks - 1
    return found
