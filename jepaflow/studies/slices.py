"""Stores made from a store, with one thing wrong on purpose: frames that belong to another episode, episodes cut into pieces.

What is made lies beside the study's runs, under a name that is a hash of what it was made from, so it is made once.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.data.store import Store
from jepaflow.studies.marks import store_mark

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
    return make_store(store, frames, told, folder, f"mispaired-{seed}")


def in_pieces(source: Path, folder: Path, episodes: Sequence[int], length: int) -> Path:
    """Some episodes cut into pieces that count as episodes: a split over them is one over windows, and leaks.

    Args:
        source: a store.
        folder: where the new one goes.
        episodes: that are cut.
        length: of a piece in control steps; what is left over is dropped.

    Raises:
        JepaflowError: when there are fewer than two pieces.
    """
    store = Store(source)
    whole = [store.episode_rows(e) for e in episodes]
    pieces = [rows[i : i + length] for rows in whole for i in range(0, len(rows) - length + 1, length)]
    if len(pieces) < 2:
        raise JepaflowError(f"{source} has no two pieces of {length} control steps. Name more or longer episodes.")
    return make_store(store, pieces, pieces, folder, f"pieces-{length}-{list(episodes)}")


def make_store(
    store: Store, frames: Sequence[Int[ndarray, " _"]], told: Sequence[Int[ndarray, " _"]], folder: Path, what: str
) -> Path:
    """Write a store of these rows of another, unless it is there; returns its path.

    Args:
        store: that is copied from.
        frames: rows of the pictures, episode by episode.
        told: rows of actions and states.
        folder: where it goes.
        what: was done, for its name.
    """
    digest = hashlib.sha256(f"{store_mark(store.path)} {what}".encode()).hexdigest()[:10]
    path = folder / f"{what.split('-')[0]}-{digest}.h5"
    if path.is_file():
        return path
    rows, from_rows = np.concatenate(frames), np.concatenate(told)
    lengths = np.array([len(one) for one in frames], np.int64)
    with atomic_path(path) as temporary, h5py.File(store.path) as source, h5py.File(temporary, "w") as out:
        for name in sorted(store.columns):
            if name.startswith("pixels"):
                _copy_frames(source[name], out, name, rows)
        for name in LOW:
            if name in store.columns:
                out[name] = store.read(name, from_rows)
        out["episode_idx"] = np.repeat(np.arange(len(lengths)), lengths)
        out["step_idx"] = np.concatenate([np.arange(length) for length in lengths])
        out["ep_len"], out["ep_offset"] = lengths, np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        for key in ("jepaflow", "complete"):
            out.attrs[key] = source.attrs[key]
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
