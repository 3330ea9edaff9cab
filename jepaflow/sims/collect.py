"""Collect episodes of a world into a LeRobot v3.0 dataset: pictures, actions and the full simulator state per frame.

Episode `i` is a pure function of (seed, i): its own generator makes the start, the behaviour, the targets and the
noise. So a collection that was interrupted goes on where it stopped and ends with the same episodes as an uninterrupted
one, any number of processes may share the work, and asking for more episodes later extends the same dataset.

Row `t` holds the picture and state *before* action `t` is executed, as LeRobot's recorders do. Where a world knows
events and several behaviours, two integer columns say them per frame (`event`, `behaviour`; their `labels` are in
`meta/info.json`): a model may be trained on some and judged on others.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.data.writer import DatasetWriter
from jepaflow.sims.record import EpisodeRecorder, Recording, claim_folder, features, finished_episodes
from jepaflow.sims.registry import World, WorldEntry, WorldOptions, find_world

__all__ = ["CollectConfig", "Recording", "collect", "features", "record_episode"]

RECORD = "meta/collect.json"
"""What the dataset was collected with, so that a rerun continues only the same collection."""
AFTER = 5
"""Control steps that are recorded after a behaviour has come to its end."""


@dataclass(frozen=True)
class CollectConfig:
    """What to collect."""

    env: str = "two_room"
    episodes: int = 300
    steps: tuple[int, int] | None = None
    """Range of an episode's length in control steps, drawn per episode; None: what suits the world. An expert that
    finishes its task ends the episode earlier."""
    seed: int = 0
    image_size: int = 64
    mix: Mapping[str, float] | None = None
    """Share of each behaviour; None: the world's."""
    workers: int = 1
    """Processes."""
    world: WorldOptions = field(default_factory=WorldOptions)

    def __post_init__(self) -> None:
        """Refuse an empty collection."""
        entry = find_world(self.env)
        if self.episodes < 1:
            raise JepaflowError(f"{self.episodes} episodes are nothing to collect. Ask for at least 1.")
        if self.steps is not None and not 1 <= self.steps[0] <= self.steps[1]:
            raise JepaflowError(
                f"episode lengths of {self.steps[0]}..{self.steps[1]} steps cannot be drawn. Give 1 <= low <= high."
            )
        if self.image_size < 8 or self.image_size % 2:
            raise JepaflowError(
                f"an image size of {self.image_size} px cannot be recorded as video. Give an even size of at least 8."
            )
        if self.seed < 0:
            raise JepaflowError(f"the seed is {self.seed}. Give a number that is not negative.")
        if self.workers < 1:
            raise JepaflowError(f"{self.workers} workers do nothing. Give at least 1.")
        shares = entry.mix if self.mix is None else self.mix
        if unknown := sorted(set(shares) - set(entry.behaviours)):
            raise JepaflowError(
                f"{self.env} has no behaviour '{unknown[0]}'. Choose among: {', '.join(entry.behaviours)}."
            )
        values = np.array(list(shares.values()), dtype=float)
        if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
            raise JepaflowError(f"the shares {dict(shares)} cannot be drawn from. Give numbers >= 0, not all zero.")

    def shares(self) -> dict[str, float]:
        """Return the share of each behaviour, in the world's order, summing to one."""
        entry = find_world(self.env)
        given = entry.mix if self.mix is None else self.mix
        total = sum(given.values())
        return {name: given.get(name, 0.0) / total for name in entry.behaviours if given.get(name, 0.0) > 0}

    def settings(self) -> dict[str, Any]:
        """Return what an episode is a function of, for the record; an arm's model file by what it holds."""
        world = self.world
        mjcf = None if world.arm_mjcf is None else hashlib.sha256(Path(world.arm_mjcf).read_bytes()).hexdigest()[:16]
        return {
            "env": self.env,
            "steps": None if self.steps is None else list(self.steps),
            "seed": self.seed,
            "image_size": self.image_size,
            "mix": self.shares(),
            "cameras": list(world.cameras),
            "vary": sorted(world.vary),
            "fix": sorted(world.fix),
            "arm_mjcf": mjcf,
        }


def record_episode(entry: WorldEntry, world: World, config: CollectConfig, index: int, look: bool = True) -> Recording:
    """Run episode `index` of a collection; without `look`, of the same episode the actions and states alone."""
    rng = np.random.default_rng([config.seed, index])
    world.reset(seed=int(rng.integers(2**31)))
    shares = config.shares()
    name = next(iter(shares)) if len(shares) == 1 else str(rng.choice(list(shares), p=list(shares.values())))
    behaviour = entry.behaviours[name](world, rng)
    low, high = config.steps or entry.steps
    length = int(rng.integers(low, high + 1))
    if hasattr(behaviour, "done") and config.steps is None and name in ("expert", "failures"):
        length = entry.longest
    recorder, ending = EpisodeRecorder(entry, world), AFTER
    while len(recorder) < length and ending > 0:
        recorder.watch(getattr(behaviour, "phase", ""))
        action = behaviour.act()  # may draw a new target, which belongs to the state of this very row
        recorder.take(action, world.observation() if look else None)
        world.advance(action)
        ending -= bool(getattr(behaviour, "done", False))
    return recorder.recording(name, list(entry.behaviours).index(name), world.task)


def collect(root: Path, config: CollectConfig) -> tuple[int, int]:
    """Collect into the dataset folder `root`, continuing what the same settings began; return (episodes, new ones).

    Raises:
        JepaflowError: `root` holds something else, or a collection with other settings.
    """
    entry = find_world(config.env)
    world = entry.make(config.image_size, config.world)
    settings = config.settings()
    if (backend := getattr(world, "backend", None)) is not None:
        settings["renderer"] = backend  # pictures of two renderers must not be mixed
    begun = claim_folder(root, RECORD, settings, "jepaflow collect", partial(_renewed, config))
    if (finished := finished_episodes(root)) >= config.episodes:
        return finished, 0
    if begun:
        writer = DatasetWriter.resume(root)
    else:
        robot = config.env.partition("/")[0]
        writer = DatasetWriter(root, world.fps, features(entry, world), robot_type=robot, codec=entry.codec)
    done = writer.finished()
    missing = [index for index in range(config.episodes) if index not in done]
    with writer, progress("collect", config.episodes) as advance:
        advance(config.episodes - len(missing))
        with _recorders(root, config, min(config.workers, len(missing))) as record:
            for _ in record(missing):
                advance()
    return max(len(done), config.episodes), len(missing)


@contextmanager
def _recorders(root: Path, config: CollectConfig, workers: int) -> Iterator[Any]:
    """Give a function that records episodes, yielding as each is safe on disk."""
    if workers <= 1:
        _prepare(root, config)
        yield lambda indices: map(_record, indices)
        return
    context = multiprocessing.get_context("spawn")  # a forked OpenGL or thread pool is a broken one
    pool = ProcessPoolExecutor(workers, context, _prepare, (root, config))
    try:
        yield lambda indices: _unordered(pool, indices)
    finally:
        pool.shutdown(cancel_futures=True)


def _unordered(pool: ProcessPoolExecutor, indices: list[int]) -> Iterator[None]:
    try:
        for future in as_completed([pool.submit(_record, index) for index in indices]):
            yield future.result()
    except BrokenProcessPool as error:
        raise JepaflowError(
            "a worker process died (killed, or out of memory). Finished episodes are kept: run the command again, "
            "perhaps with fewer --workers."
        ) from error


_job: dict[str, Any] = {}
"""A worker process's world and settings."""


def _prepare(root: Path, config: CollectConfig) -> None:
    entry = find_world(config.env)
    _job.update(root=root, config=config, entry=entry, world=entry.make(config.image_size, config.world))


def _record(index: int) -> None:
    record_episode(_job["entry"], _job["world"], _job["config"], index).stage(_job["root"], index)


def _renewed(config: CollectConfig, before: dict[str, Any]) -> dict[str, Any]:
    """Return an older record, which wrote the world's range of lengths where none was given, in today's form."""
    if config.steps is None and "cameras" not in before and before.get("steps") == list(find_world(config.env).steps):
        return {**before, "steps": None}
    return before
