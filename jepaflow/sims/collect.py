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
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, write_json
from jepaflow.data.writer import STAGING, DatasetWriter, has_begun, stage_episode
from jepaflow.sims.registry import World, WorldEntry, WorldOptions, find_world

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


@dataclass(frozen=True)
class Recording:
    """One episode in memory."""

    rows: dict[str, np.ndarray]
    """Features without pictures by key, each (T, ...)."""
    pictures: dict[str, np.ndarray]
    """Per camera, by its short name: (T, S, S, 3) uint8."""
    task: str
    behaviour: str


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
    watch = entry.events(world) if entry.events is not None else None
    seen: list[dict[str, np.ndarray]] = []
    actions: list[np.ndarray] = []
    states: list[np.ndarray] = []
    events: list[int] = []
    ending = AFTER
    while len(actions) < length and ending > 0:
        events.append(watch(getattr(behaviour, "phase", "")) if watch is not None else 0)
        action = behaviour.act()  # may draw a new target, which belongs to the state of this very row
        if look:
            seen.append(world.observation())
        states.append(world.get_state())
        actions.append(action)
        world.advance(action)
        ending -= bool(getattr(behaviour, "done", False))
    rows = {
        "action": np.stack(actions).astype(np.float32),
        "observation.environment_state": np.stack(states).astype(np.float32),
    }
    if look:
        rows["observation.state"] = np.stack([observation["state"] for observation in seen]).astype(np.float32)
    if watch is not None:
        rows["event"] = np.array(events, dtype=np.int64)
    if len(entry.behaviours) > 1:
        rows["behaviour"] = np.full(len(actions), list(entry.behaviours).index(name), dtype=np.int64)
    keys = ("pixels", *world.cameras[1:])
    pictures = {
        camera: np.stack([observation[key] for observation in seen])
        for camera, key in zip(world.cameras, keys, strict=True)
        if look
    }
    return Recording(rows, pictures, world.task, name)


def features(entry: WorldEntry, world: World) -> dict[str, dict[str, Any]]:
    """Return the dataset's features in LeRobot's form."""

    def numbers(names: tuple[str, ...], unit: str) -> dict[str, Any]:
        return {"dtype": "float32", "shape": [len(names)], "names": list(names), "unit": unit}

    def words(name: str, labels: list[str]) -> dict[str, Any]:
        return {"dtype": "int64", "shape": [1], "names": [name], "labels": labels}

    picture = {
        "dtype": "video",
        "shape": [world.image_size, world.image_size, 3],
        "names": ["height", "width", "channels"],
    }
    found = {
        "action": numbers(entry.action_names, entry.action_unit),
        "observation.state": numbers(entry.proprio_names, entry.proprio_unit or entry.state_unit),
        "observation.environment_state": numbers(world.state_names, entry.state_unit),
    }
    if entry.events is not None:
        found["event"] = words("event", list(entry.event_labels))
    if len(entry.behaviours) > 1:
        found["behaviour"] = words("behaviour", list(entry.behaviours))
    return found | {f"observation.images.{camera}": picture for camera in world.cameras}


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
    begun = _check_folder(root, settings)
    if (finished := _finished_episodes(root)) >= config.episodes:
        return finished, 0
    if begun:
        writer = DatasetWriter.resume(root)
    else:
        writer = DatasetWriter(root, world.fps, features(entry, world), robot_type=config.env.partition("/")[0])
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
    episode = record_episode(_job["entry"], _job["world"], _job["config"], index)
    pictures = {f"observation.images.{camera}": frames for camera, frames in episode.pictures.items()}
    stage_episode(_job["root"], index, episode.rows, pictures, episode.task)


def _check_folder(root: Path, settings: dict[str, Any]) -> bool:
    """Claim `root` for this collection; return whether the same settings have begun a dataset in it."""
    record = root / RECORD
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        if not record.exists():
            raise JepaflowError(
                f"{root} is not empty and was not made by `jepaflow collect`. Choose another --output-dir."
            )
        before = read_json(record)
        steps = find_world(settings["env"]).steps
        if settings["steps"] is None and before.get("steps") == list(steps) and "cameras" not in before:
            before = {**before, "steps": None}  # an older record, which wrote the world's range where none was given
        changed = [
            f"{key} {before[key]} -> {value}" for key, value in settings.items() if before.get(key, value) != value
        ]
        if changed:
            raise JepaflowError(
                f"{root} was collected with other settings ({', '.join(changed)}). "
                "Use those or choose another --output-dir."
            )
        return has_begun(root)
    write_json(record, settings)  # before the writer: whatever happens next, a rerun knows whose folder this is
    return False


def _finished_episodes(root: Path) -> int:
    """Return how many episodes the finished dataset in `root` has; 0 where there is none or it is being extended."""
    info = root / "meta" / "info.json"
    if (root / STAGING).exists() or not info.exists():
        return 0
    return int(read_json(info)["total_episodes"])
