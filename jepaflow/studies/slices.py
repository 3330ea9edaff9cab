"""Stores made from a store: frames that belong to another episode, episodes cut into pieces, actions in a common form, films
without any.

What is made lies beside the study's runs, under a name that is a hash of what it was made from, so it is made once.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.data.scaling import column_statistics
from jepaflow.data.store import Store
from jepaflow.studies.marks import store_mark

FORMAT = 2
"""Of the stores that are made; 2: films are described by their own camera, not by the robot's."""
LOW = ("action", "proprio", "state")
"""Columns that are kept beside the pictures."""


def mispaired(source: Path, folder: Path, seed: int = 0) -> Path:
    """Each episode's frames with the actions and states of another, repeated or cut to its length.

    Args:
        source: a store of two episodes or more.
        folder: where the new one goes.
        seed: of who gets whose.

    Raises:
        JepaflowError: when there is no other episode.
    """
    store = Store(source)
    if store.num_episodes < 2:
        raise JepaflowError(f"{source} has a single episode, whose frames cannot be paired with another's.")
    order = np.random.default_rng(seed).permutation(store.num_episodes)
    donor = np.empty_like(order)
    donor[order] = np.roll(order, 1)  # one cycle through all: nobody keeps its own
    frames = [store.episode_rows(e) for e in range(store.num_episodes)]
    told = [np.resize(store.episode_rows(int(d)), len(rows)) for d, rows in zip(donor, frames)]
    return make_store(store, frames, _told(store, told), folder, f"mispaired-{seed}")


def in_pieces(source: Path, folder: Path, episodes: Sequence[int], length: int, stride: int) -> Path:
    """Some episodes cut into pieces that overlap and count as episodes: a split over them is one over windows, and leaks.

    Args:
        source: a store.
        folder: where the new one goes.
        episodes: that are cut.
        length: of a piece in control steps; what is left over is dropped.
        stride: control steps from the beginning of one to that of the next.

    Raises:
        JepaflowError: when there are fewer than two pieces.
    """
    store = Store(source)
    whole = [store.episode_rows(e) for e in episodes]
    pieces = [rows[i : i + length] for rows in whole for i in range(0, len(rows) - length + 1, stride)]
    if len(pieces) < 2:
        raise JepaflowError(f"{source} has no two pieces of {length} control steps. Name more or longer episodes.")
    return make_store(store, pieces, _told(store, pieces), folder, f"pieces-{length}-{stride}-{list(episodes)}")


def normalised(source: Path, folder: Path, width: int, episodes: Sequence[int]) -> Path:
    """The same episodes with actions that a model of other arms can be given: z-scored, filled up with zeros.

    Args:
        source: a store with at most ``width`` entries in an action.
        folder: where the new one goes.
        width: of an action then.
        episodes: whose mean and deviation count (those of the training).
    """
    store = Store(source)
    rows = [store.episode_rows(e) for e in range(store.num_episodes)]
    low = _told(store, rows)
    mean, std = column_statistics([store], [tuple(episodes)], "action")
    scaled = (low["action"] - mean) / std
    low["action"] = np.pad(scaled, ((0, 0), (0, width - scaled.shape[1]))).astype(np.float32)
    return make_store(store, rows, low, folder, f"normalised-{width}-{list(episodes)}")


def action_free(
    films: Path, clips: Sequence[int], windows: tuple[int, int], like: Path, episodes: Sequence[int], folder: Path
) -> Path:
    """Films that can be mixed with a robot's episodes: at its rate, every action the robot's mean one (0 once scaled).

    Args:
        films: a store of frames of the same size.
        clips: episodes of it that are used, over and over, until there are enough windows.
        windows: how many there shall be, and how many frames one spans; the last clip is whole.
        like: the robot's store.
        episodes: of it, whose mean action counts.
        folder: where the new one goes.

    Raises:
        JepaflowError: when frames are of another size, or no clip has a window.
    """
    store, robot = Store(films), Store(like)
    if store.image_size != robot.image_size:
        raise JepaflowError(
            f"{films} has frames of {store.image_size} px, {like} of {robot.image_size} px. Convert them alike."
        )
    every = max(1, round(store.fps / robot.fps))
    wanted, span = windows
    long = [one for clip in clips if len(one := store.episode_rows(clip)[::every]) >= span]
    if not long:
        raise JepaflowError(f"No clip of {films} has the {span} frames of a window, at {robot.fps:g} frames a second.")
    rows: list[Int[ndarray, " _"]] = []
    while sum(len(one) - span + 1 for one in rows) < wanted:
        rows.append(long[len(rows) % len(long)])
    total, mean = sum(map(len, rows)), column_statistics([robot], [tuple(episodes)], "action")[0]
    low: dict[str, ndarray] = {"action": np.tile(mean.astype(np.float32), (total, 1))}
    low |= {n: np.zeros((total, robot.dim(n)), np.float32) for n in LOW[1:] if n in robot.columns}
    what = f"films-{windows}-{list(clips)}-{store_mark(like)}-{list(episodes)}"
    return make_store(store, rows, low, folder, what, robot)


def _told(store: Store, rows: Sequence[Int[ndarray, " _"]]) -> dict[str, ndarray]:
    """Actions and states of these rows."""
    return {name: store.read(name, np.concatenate(rows)) for name in LOW if name in store.columns}


def make_store(
    store: Store,
    frames: Sequence[Int[ndarray, " _"]],
    low: Mapping[str, ndarray],
    folder: Path,
    what: str,
    like: Store | None = None,
) -> Path:
    """Write a store of these rows of another, unless it is there; returns its path.

    Args:
        store: that is copied from.
        frames: rows of the pictures, episode by episode.
        low: actions and states, row by row.
        folder: where it goes.
        what: was done, for its name.
        like: the store whose description it is given; ``store`` itself when not given.
    """
    digest = hashlib.sha256(f"{store_mark(store.path)} {what} {FORMAT}".encode()).hexdigest()[:10]
    path = folder / f"{what.split('-')[0]}-{digest}.h5"
    if path.is_file():
        return path
    rows, lengths = np.concatenate(frames), np.array([len(one) for one in frames], np.int64)
    described = (like or store).path
    with atomic_path(path) as temporary, h5py.File(store.path) as source, h5py.File(temporary, "w") as out:
        for name in sorted(store.columns):
            if name.startswith("pixels"):
                _copy_frames(source[name], out, name, rows)
        for name, values in low.items():
            out[name] = values
        out["episode_idx"] = np.repeat(np.arange(len(lengths)), lengths)
        out["step_idx"] = np.concatenate([np.arange(length) for length in lengths])
        out["ep_len"], out["ep_offset"] = lengths, np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        with h5py.File(described) as other:
            about = json.loads(other.attrs["jepaflow"])
            about["cameras"] = [c for i, c in enumerate(about["cameras"]) if i == 0 or f"pixels_{c}" in out]
            out.attrs["jepaflow"], out.attrs["complete"] = json.dumps(about), other.attrs["complete"]
    return path


def _copy_frames(source: h5py.Dataset, out: h5py.File, name: str, rows: Int[ndarray, " n"]) -> None:
    made = out.create_dataset(name, (len(rows), *source.shape[1:]), source.dtype, chunks=(1, *source.shape[1:]))
    for begin in range(0, len(rows), 512):
        some = rows[begin : begin + 512]
        low, high = int(some.min()), int(some.max()) + 1
        # Rows of an episode lie together; those of many, picked one by one, are not read with all between them.
        near = high - low <= 4 * len(some)
        made[begin : begin + len(some)] = (
            source[low:high][some - low] if near else np.stack([source[int(r)] for r in some])
        )
