"""`jepaflow collect`: act in a simulated world with its scripted expert and record a LeRobot v3.0 dataset."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from jepaflow.common.console import console
from jepaflow.common.files import write_json
from jepaflow.sims.collect import CollectConfig, collect


@dataclass(frozen=True)
class Args:
    """Collect episodes of a world; run again to continue or to extend."""

    output_dir: Path
    """Folder of the dataset."""
    env: str = "two_room"
    """World to act in."""
    episodes: int = 300
    """Number of episodes that the dataset shall have."""
    steps: tuple[int, int] = (60, 100)
    """Shortest and longest episode, in control steps."""
    seed: int = 0
    """Everything drawn follows from it."""
    image_size: int = 64
    """Side of the recorded pictures in px."""
    json: Path | None = None
    """Write the figures to this file."""


def run(args: Args) -> int:
    """Run the command; 0 when all episodes are there."""
    config = CollectConfig(args.env, args.episodes, args.steps, args.seed, args.image_size)
    started = time.perf_counter()
    episodes, new = collect(args.output_dir, config)
    seconds = time.perf_counter() - started
    console.print(f"{args.output_dir}: {episodes} episodes, {new} of them new, {seconds:.1f} s.")
    if args.json is not None:
        write_json(args.json, {"episodes": episodes, "new_episodes": new, "seconds": seconds})
    return 0
