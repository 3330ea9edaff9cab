"""Windows: clips of ``T`` frames, ``K`` control steps apart, with every action in between.

The order is a pure function of (seed, epoch): batch i of epoch e is the same whoever asks, whenever, so a run resumes
at any offset without replaying anything. Only the rows that a window needs are read. Pixels that fit in memory are
kept there (a laptop reads them once); larger stores are read from disk by a thread ahead of the trainer.
"""

import os
import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store


@dataclass(frozen=True)
class Window:
    """A batch of windows. Shapes: ``pixels`` [B, T, V, S, S, 3], ``blocks`` [B, T, K, A], ``proprio`` [B, T, P] or None.

    ``blocks[:, t]`` are the K actions executed from frame t on. ``where`` [B, 3] holds store, episode and first step.
    """

    pixels: UInt8[Tensor, "B T V S S 3"]
    blocks: Float[Tensor, "B T K A"]
    proprio: Float[Tensor, "B T P"] | None
    where: Int[ndarray, "B 3"]

    def to(self, device: torch.device) -> "Window":
        """Move the tensors to a device."""
        proprio = None if self.proprio is None else self.proprio.to(device)
        return Window(self.pixels.to(device), self.blocks.to(device), proprio, self.where)


def window_starts(store: Store, episodes: tuple[int, ...], span: int) -> Int[ndarray, "n 2"]:
    """Every (episode, first step) whose next ``span`` control steps lie inside the episode."""
    pairs = [
        np.stack([np.full(n, episode), np.arange(n)], 1)
        for episode in episodes
        if (n := int(store.ep_len[episode]) - span + 1) > 0
    ]
    return np.concatenate(pairs) if pairs else np.empty((0, 2), np.int64)


class Windows:
    """All windows of the given episodes of one or several stores.

    Args:
        stores: stores with the same frame size and action size.
        episodes: for each store, the episodes to use.
        frames: T.
        stride: K, control steps between frames.
        cameras: views to read.
        proprio: read ``observation.state`` too.
        cache_bytes: keep the pixels in memory when they take no more than this; None = a quarter of the memory.

    Raises:
        JepaflowError: when stores do not match, have no actions, or no episode is long enough.
    """

    def __init__(
        self,
        stores: list[Store],
        episodes: list[tuple[int, ...]],
        frames: int,
        stride: int,
        cameras: tuple[str, ...] = ("pixels",),
        proprio: bool = False,
        cache_bytes: int | None = None,
    ) -> None:
        check_match(stores, proprio)
        self.stores, self.frames, self.stride, self.cameras, self.proprio = stores, frames, stride, cameras, proprio
        span = frames * stride
        starts = [window_starts(store, chosen, span) for store, chosen in zip(stores, episodes, strict=True)]
        self.index = np.concatenate([np.insert(s, 0, i, axis=1) for i, s in enumerate(starts)])
        if len(self.index) == 0:
            longest = max(
                int(store.ep_len[list(chosen)].max(initial=0)) for store, chosen in zip(stores, episodes, strict=True)
            )
            raise JepaflowError(
                f"No episode is long enough: a window needs {span} control steps ({frames} frames × {stride}), the longest has {longest}. "
                "Use a smaller --block or record longer episodes."
            )
        self._low = [
            {name: store.read(name, np.arange(store.length)) for name in ("action", *(["proprio"] if proprio else []))}
            for store in stores
        ]
        self._pixels = self._load(cache_bytes)

    def _load(self, cache_bytes: int | None) -> list[ndarray] | None:
        budget = (
            cache_bytes if cache_bytes is not None else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
        )
        size = sum(store.length * len(self.cameras) * store.image_size**2 * 3 for store in self.stores)
        if size > budget:
            return None
        cached = []
        with progress("Load pixels", sum(store.length for store in self.stores)) as advance:
            for store in self.stores:
                out = np.empty((store.length, len(self.cameras), store.image_size, store.image_size, 3), np.uint8)
                for begin in range(0, store.length, 1024):
                    rows = np.arange(begin, min(begin + 1024, store.length))
                    out[rows] = store.pixels(rows, self.cameras)
                    advance(len(rows))
                cached.append(out)
        return cached

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.index)

    def order(self, seed: int, epoch: int) -> Int[ndarray, " n"]:
        """The permutation of an epoch: a pure function of its arguments and of the set of windows."""
        return np.random.default_rng([seed, epoch]).permutation(len(self.index))

    def batches_per_epoch(self, batch_size: int) -> int:
        """Whole batches in an epoch; the incomplete last one is dropped."""
        return len(self.index) // batch_size

    def batch(self, numbers: Int[ndarray, " B"]) -> Window:
        """Read the windows with these numbers."""
        where = self.index[numbers]
        parts = [self._read_store(int(number), where[where[:, 0] == number]) for number in np.unique(where[:, 0])]
        pixels, blocks, states = parts[0]
        if len(parts) > 1:  # put the windows of several stores back into the order asked for
            order = np.argsort(np.argsort(where[:, 0], kind="stable"), kind="stable")
            pixels, blocks = (np.concatenate([p[i] for p in parts])[order] for i in (0, 1))
            states = np.concatenate([p[2] for p in parts if p[2] is not None])[order] if self.proprio else None
        proprio = None if states is None else torch.from_numpy(states)
        return Window(torch.from_numpy(pixels), torch.from_numpy(blocks), proprio, where)

    def _read_store(self, number: int, where: Int[ndarray, "n 3"]) -> tuple[ndarray, ndarray, ndarray | None]:
        """Pixels, action blocks and states of windows of one store."""
        store, low, span = self.stores[number], self._low[number], self.frames * self.stride
        first = store.ep_offset[where[:, 1]] + where[:, 2]
        rows = first[:, None] + self.stride * np.arange(self.frames)
        flat = rows.ravel()
        pixels = self._pixels[number][flat] if self._pixels else store.pixels(flat, self.cameras)
        dense = low["action"][first[:, None] + np.arange(span)]
        return (
            pixels.reshape(*rows.shape, *pixels.shape[1:]),
            dense.reshape(len(where), self.frames, self.stride, -1),
            low["proprio"][rows] if self.proprio else None,
        )

    def place(self, where: Int[ndarray, " 3"]) -> str:
        """Name a window for a message: file, episode of the source dataset, first frame."""
        store = self.stores[int(where[0])]
        first, last = int(where[2]), int(where[2]) + self.frames * self.stride - 1
        return f"{store.path}, episode {store.source_episode(int(where[1]))}, frames {first} to {last}"


def check_match(stores: list[Store], proprio: bool) -> None:
    """Refuse stores that cannot train one model together.

    Raises:
        JepaflowError: a store has no actions, no state although ``proprio`` asks for it, or sizes or a rate of its own.
    """
    for store in stores:
        if "action" not in store.columns:
            raise JepaflowError(
                f"{store.path} has no actions (a folder of plain videos?). This model needs a dataset with actions."
            )
        if proprio and "proprio" not in store.columns:
            raise JepaflowError(
                f"{store.path} has no observation.state. Train without --proprio or use another dataset."
            )
        for what, mine, first in (
            ("frames of another size", store.image_size, stores[0].image_size),
            ("actions of another size", store.dim("action"), stores[0].dim("action")),
            ("states of another size", store.dim("proprio") * proprio, stores[0].dim("proprio") * proprio),
            ("another frame rate", store.fps, stores[0].fps),
            ("frames fitted by another rule", store.meta.get("image_fit"), stores[0].meta.get("image_fit")),
        ):
            if mine != first:
                raise JepaflowError(
                    f"{store.path} has {what} ({mine}) than {stores[0].path} ({first}). Convert them alike or train on one."
                )


Item = tuple[int, Window]


def prefetch(read: Callable[[int], Window], begin: int, end: int, depth: int = 2) -> Generator[Item, None, None]:
    """Yield ``(step, read(step))`` for steps ``begin … end − 1``, read ahead by one thread, in order.

    An error in the thread is raised here, at the step where it happened. Closing the iterator ends the thread.
    """
    ready: queue.Queue[Item | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def offer(item: "Item | BaseException | None") -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for step in range(begin, end):
                if stop.is_set():
                    return
                offer((step, read(step)))
            offer(None)
        except BaseException as error:
            offer(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
