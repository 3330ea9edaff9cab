"""The rows of a run's training or held-out episodes, end to end, and hindsight pairs drawn from them.

Heads and behaviour cloning train on pairs of rows: a later row of the same episode is the goal of an earlier one. What
belongs to which split is the run's own record; a store named by hand must hold the same recordings, in the same order.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int, UInt8
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.data.store import Store
from jepaflow.data.windows import check_match
from jepaflow.training.checkpoint import Run


@dataclass(frozen=True)
class Corpus:
    """Rows of the chosen episodes of one or several stores; ``e`` counts episodes, ``n`` rows of all of them."""

    stores: list[Store]
    where: Int[ndarray, "e 2"]
    """store and episode of each"""
    length: Int[ndarray, " e"]
    store_of: Int[ndarray, " n"]
    row: Int[ndarray, " n"]
    """row in its store"""
    episode: Int[ndarray, " n"]
    """number of the row's episode, 0 … e − 1"""
    step: Int[ndarray, " n"]
    """control step in its episode"""
    actions: Float32[ndarray, "n A"]
    proprio: Float32[ndarray, "n P"] | None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.row)

    @property
    def first(self) -> Int[ndarray, " e"]:
        """Index of each episode's first row."""
        first: ndarray = np.cumsum(self.length) - self.length
        return first

    @property
    def left(self) -> Int[ndarray, " n"]:
        """Control steps from each row to the last row of its episode."""
        left: ndarray = self.length[self.episode] - 1 - self.step
        return left

    def frames(self, rows: Int[ndarray, " m"], cameras: tuple[str, ...]) -> UInt8[ndarray, "m V S S 3"]:
        """Read the pixels of the given rows (of this corpus)."""
        size = self.stores[0].image_size
        out = np.empty((len(rows), len(cameras), size, size, 3), np.uint8)
        for number, store in enumerate(self.stores):
            mine = self.store_of[rows] == number
            if mine.any():
                out[mine] = store.pixels(self.row[rows[mine]], cameras)
        return out

    def plans(self, rows: Int[ndarray, " m"], steps: int) -> Float32[ndarray, "m n A"]:
        """The ``steps`` actions from each row on; past the end of the data the last action is repeated."""
        ahead = np.minimum(np.arange(steps), self.left[rows][:, None])
        plans: ndarray = self.actions[rows[:, None] + ahead]
        return plans

    def take(self, episodes: Int[ndarray, " m"]) -> "Corpus":
        """The corpus of some of its episodes, in the given order."""
        return gather(self.stores, [(int(s), int(e)) for s, e in self.where[episodes]], self.proprio is not None)


def gather(stores: list[Store], where: list[tuple[int, int]], proprio: bool) -> Corpus:
    """Collect the rows of (store, episode) pairs.

    Raises:
        JepaflowError: naming file, episode and frame of an action or state that is not finite.
    """
    rows = [stores[s].episode_rows(e) for s, e in where]
    length = np.array([len(r) for r in rows], np.int64)

    def column(name: str) -> ndarray:
        parts = [_finite(stores[s], name, e, r) for (s, e), r in zip(where, rows)]
        return np.concatenate(parts) if parts else np.empty((0, stores[0].dim(name)), np.float32)

    return Corpus(
        stores=stores,
        where=np.array(where, np.int64).reshape(-1, 2),
        length=length,
        store_of=np.repeat(np.array([s for s, _ in where], np.int64), length),
        row=np.concatenate([*rows, np.empty(0, np.int64)]),
        episode=np.repeat(np.arange(len(where)), length),
        step=np.concatenate([*(np.arange(n) for n in length), np.empty(0, np.int64)]),
        actions=column("action"),
        proprio=column("proprio") if proprio else None,
    )


def _finite(store: Store, column: str, episode: int, rows: ndarray) -> ndarray:
    values = np.asarray(store.read(column, rows), np.float32)
    bad = ~np.isfinite(values).all(1)
    if bad.any():
        raise JepaflowError(
            f"{store.path}: {column} is not finite in episode {store.source_episode(episode)}, frame {int(bad.argmax())}. "
            "Run jepaflow doctor on the dataset and convert it with --on-damage drop."
        )
    return values


def open_corpora(run: Run, dataset: tuple[Path, ...] = ()) -> tuple[Corpus, Corpus]:
    """The training and the held-out episodes of a run.

    Args:
        run: the run.
        dataset: where its stores lie now, in the order of the training; empty = where they lay then.

    Raises:
        JepaflowError: when a store is missing, has no actions, or does not hold what the run was trained on.
    """
    own = [Path(p) for p in run.config["dataset"]["path"]]
    if dataset and len(dataset) != len(own):
        raise JepaflowError(
            f"{run.path} was trained on {len(own)} stores; {len(dataset)} were named. Name all of them."
        )
    for path in dataset or own:
        if not path.is_file():
            raise JepaflowError(f"The run's store {path} is not there. Say where it lies with --dataset.")
    stores = [Store(path) for path in dataset or own]
    config = run.model.config
    check_match(stores, config.proprio_dim > 0)
    if stores[0].dim("action") != config.action_dim or stores[0].image_size != config.image_size:
        raise JepaflowError(
            f"{stores[0].path} has {stores[0].dim('action')} action dimensions and frames of {stores[0].image_size} px, "
            f"{run.path} takes {config.action_dim} and {config.image_size} px. Name the store that it was trained on."
        )
    split = read_json(run.path / "split.json")
    for number, store in enumerate(stores):
        _check_recordings(run, number, store, split)
    with_state = config.proprio_dim > 0
    found = []
    for part in ("train", "val"):
        where = [(s, int(e)) for s, chosen in enumerate(split[part]) for e in chosen]
        found.append(gather(stores, where, with_state))
    return found[0], found[1]


def _check_recordings(run: Run, number: int, store: Store, split: dict[str, list[list[int]]]) -> None:
    """Refuse a store whose episodes are not those of the training: held-out ones would leak."""
    chosen = [int(e) for part in ("train", "val") for e in split[part][number]]
    fits = all(e < store.num_episodes for e in chosen)
    record = run.path / "data.json"
    if fits and record.is_file():
        fits = [store.fingerprint(e) for e in split["train"][number]] == read_json(record)[number]["train"]
    if not fits:
        raise JepaflowError(
            f"{store.path} does not hold the episodes that {run.path} was trained on. Bring that store back, or train anew."
        )


def hindsight(
    corpus: Corpus, count: int, offsets: Int[ndarray, " o"], before: int, rng: np.random.Generator
) -> tuple[Int[ndarray, " m"], Int[ndarray, " m"]]:
    """Draw rows and the number of control steps to a later row of the same episode, uniformly over all such pairs.

    Args:
        corpus: episodes.
        count: m, pairs to draw.
        offsets: allowed differences, in control steps, sorted.
        before: rows that must precede the first one in its episode.
        rng: draws.

    Raises:
        JepaflowError: when no episode is long enough for the smallest offset.
    """
    order = np.argsort(-corpus.length, kind="stable")
    lengths = corpus.length[order]
    room = np.cumsum(np.concatenate([[0], lengths]))  # rows in the i longest episodes
    need = offsets + before
    longer = np.searchsorted(-lengths, -need, side="left")  # episodes with a row to spare
    pairs = (room[longer] - longer * need).astype(np.float64)
    if pairs.sum() == 0:
        raise JepaflowError(
            f"No episode is long enough for a goal {int(offsets[0])} control steps later: the longest has "
            f"{int(corpus.length.max(initial=0))} rows. Record longer episodes, or train with a smaller --block."
        )
    which = rng.choice(len(offsets), count, p=pairs / pairs.sum())
    need, place = need[which], np.floor(rng.random(count) * pairs[which]).astype(np.int64)
    low, high = np.zeros(count, np.int64), longer[which] - 1
    while (low < high).any():  # the episode in which the place lies, by bisection over the longest ones
        middle = (low + high) // 2
        beyond = place >= room[middle + 1] - (middle + 1) * need
        low, high = np.where(beyond, middle + 1, low), np.where(beyond, high, middle)
    step = before + place - (room[low] - low * need)
    return corpus.first[order[low]] + step, offsets[which]
