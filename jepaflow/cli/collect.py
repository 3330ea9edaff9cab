"""`jepaflow collect`: act in a simulated world with its scripted behaviours and record a LeRobot v3.0 dataset."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from jepaflow.common.console import console
from jepaflow.common.files import write_json
from jepaflow.sims.collect import CollectConfig, collect
from jepaflow.sims.registry import WorldOptions


@dataclass(frozen=True)
class Args:
    """Collect episodes of a world; run again to continue or to extend."""

    output_dir: Path
    """Folder of the dataset."""
    env: str = "two_room"
    """World to act in: two_room, maze, maze_slow, push_t, reacher, so101/TASK, koch/TASK (reach, push, lift, pick_place, sort, stack)."""
    episodes: int = 300
    """Number of episodes that the dataset shall have."""
    steps: tuple[int, int] | None = None
    """Shortest and longest episode, in control steps; left out: what suits the world."""
    seed: int = 0
    """Everything drawn follows from it."""
    image_size: int | None = None
    """Side of the recorded pictures in px; left out: 96 for the arms, else 64."""
    workers: int = 1
    """Processes that act and encode at the same time; the dataset is the same for any number."""
    mix: dict[str, float] | None = None
    """Shares of the behaviours, e.g. --mix expert 0.7 play 0.3 (also: failures, babble); left out: the world's."""
    world: tyro.conf.OmitArgPrefixes[WorldOptions] = field(default_factory=WorldOptions)
    json: Path | None = None
    """Write the figures to this file."""


def run(args: Args) -> int:
    """Run the command; 0 when all episodes are there."""
    size = args.image_size or (96 if "/" in args.env else 64)
    config = CollectConfig(args.env, args.episodes, args.steps, args.seed, size, args.mix, args.workers, args.world)
    started = time.perf_counter()
    episodes, new = collect(args.output_dir, config)
    seconds = time.perf_counter() - started
    console.print(f"{args.output_dir}: {episodes} episodes, {new} of them new, {seconds:.1f} s.")
    if args.json is not None:
        write_json(args.json, {"episodes": episodes, "new_episodes": new, "seconds": seconds})
    return 0
