"""Decodes episodes ahead of the one that is being written, in other processes; the store still has one writer.

Decoding is nearly all of a conversion's time, and episodes do not need each other. So workers decode and resize whole
episodes of one camera each, in the order in which they are wanted, and never more than one beyond the number of workers:
that many episodes, and those on their way from process to process, are in memory at once. Nothing else changes: order, damage and
journal are those of one process.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.data.hub import open_dataset
from jepaflow.data.resize import ImageRule
from jepaflow.data.types import Camera, Dataset, Episode

Decode = Callable[[Episode, Camera], Iterator[np.ndarray | None]]
"""Frames of an episode, uint8 ``(S, S, 3)``, None for one that cannot be decoded: `Dataset.frames_or_none`."""

Key = tuple[int, str]


@contextmanager
def decoder(
    dataset: Dataset, rule: ImageRule, wanted: Iterable[tuple[Episode, Camera]], workers: int
) -> Iterator[Decode]:
    """Give a function that decodes one camera of one episode.

    Args:
        dataset: in a local folder.
        rule: of the resized frames.
        wanted: what will be asked for, in that order; some may be left out.
        workers: processes; with one, frames are decoded here, one at a time.

    Raises:
        WorkerLost: from the function, when a worker dies; else whatever decoding raises.
    """
    if workers <= 1:
        yield lambda episode, camera: dataset.frames_or_none(episode, camera, rule)
        return
    context = multiprocessing.get_context("spawn")  # a forked thread pool is a broken one
    pool = ProcessPoolExecutor(workers, context, _begin, (dataset.root, rule))
    try:
        yield _Ahead(pool, wanted, workers + 1)
    finally:
        pool.shutdown(cancel_futures=True)


class _Ahead:
    """Keeps so many decodings going; hands them out in their order."""

    def __init__(self, pool: ProcessPoolExecutor, wanted: Iterable[tuple[Episode, Camera]], most: int) -> None:
        self._pool, self._wanted, self._most = pool, iter(wanted), most
        self._going: deque[tuple[Key, Future[list[np.ndarray | None]]]] = deque()

    def __call__(self, episode: Episode, camera: Camera) -> Iterator[np.ndarray | None]:
        """The frames; what was wanted before them and never asked for is dropped."""
        try:
            while (one := self._next())[0] != (episode.index, camera.key):
                pass
            frames = one[1].result()
        except BrokenProcessPool as error:
            raise WorkerLost from error
        yield from frames

    def _next(self) -> tuple[Key, Future[list[np.ndarray | None]]]:
        while len(self._going) < self._most and (following := next(self._wanted, None)) is not None:
            key = following[0].index, following[1].key
            self._going.append((key, self._pool.submit(_decode, *key)))
        return self._going.popleft()


class WorkerLost(Exception):
    """A worker process died: no damage of the episode."""


_job: dict[str, Any] = {}
"""A worker's dataset and rule."""


def _begin(root: Path, rule: ImageRule) -> None:
    _job.update(root=root, rule=rule)


def _decode(episode: int, camera: str) -> list[np.ndarray | None]:
    if "dataset" not in _job:  # here and not in `_begin`, whose errors would be told as the worker's death
        dataset = open_dataset(_job["root"])
        _job.update(
            dataset=dataset,
            episodes={episode.index: episode for episode in dataset.episodes},
            cameras={camera.key: camera for camera in dataset.cameras},
        )
    frames = _job["dataset"].frames_or_none(_job["episodes"][episode], _job["cameras"][camera], _job["rule"])
    return list(frames)
