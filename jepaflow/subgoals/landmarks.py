"""Landmarks: frames of training episodes that stand for everything the data shows; a plan's sub-goals are drawn from them.

Sub-goals must be latents that can occur, so they are chosen among those of recorded frames, and each keeps store,
episode, step and row, so that a person can look at it. *Farthest point* covers the edge of what was seen and spaces
landmarks evenly; *k-medoids* (started there) moves each to the middle of the frames nearest to it, where data are dense.
Both work on a random share of the rows, all of them where there are few: neighbouring frames say the same.

Legend: n candidate rows, N landmarks, D latent.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path, write_json
from jepaflow.training.latents import Latents

KIND = "jepaflow landmarks 1"
CHUNK = 8192


@dataclass(frozen=True)
class LandmarkConfig:
    """How landmarks are chosen."""

    count: int = 512
    """N"""
    method: Literal["farthest", "medoids"] = "farthest"
    candidates: int = 30_000
    """rows drawn to choose among; at least eight per landmark are drawn where there are as many"""
    rounds: int = 4
    """of k-medoids"""
    every: int = 0
    """above 0: no choice, but every so many control steps of episodes and their last, of as many episodes as `count` allows"""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1 or self.candidates < 1 or min(self.rounds, self.every, self.seed) < 0:
            raise JepaflowError("Landmarks and candidates must be at least 1; rounds, every and seed not negative.")


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Chosen frames, in the order of their choice."""

    z: Float[Tensor, "N D"]
    store: Int[ndarray, " N"]
    """number of the store among the run's"""
    episode: Int[ndarray, " N"]
    """in its store"""
    step: Int[ndarray, " N"]
    """control step in the episode"""
    row: Int[ndarray, " N"]
    """in the store"""
    stores: tuple[str, ...]
    """names of the stores' files"""

    def __len__(self) -> int:
        return len(self.z)

    def save(self, path: Path) -> None:
        """Write ``path`` (safetensors) and beside it a list for people (``.json``), each whole or not at all."""
        numbers = {name: getattr(self, name).tolist() for name in ("store", "episode", "step", "row")}
        tensors = {"z": self.z.contiguous()} | {name: torch.tensor(each) for name, each in numbers.items()}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, {"kind": KIND, "stores": json.dumps(self.stores)})
        listed = [dict(zip(numbers, each, strict=True)) for each in zip(*numbers.values(), strict=True)]
        write_json(path.with_suffix(".json"), {"kind": KIND, "stores": list(self.stores), "landmarks": listed})

    @classmethod
    def load(cls, path: Path) -> "Landmarks":
        """Read what `save` wrote.

        Raises:
            JepaflowError: the file is missing, damaged or something else.
        """
        if not path.is_file():
            raise JepaflowError(f"{path} does not exist. Fit the run: jepaflow subgoals fit RUN")
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                if about.get("kind") != KIND:
                    raise JepaflowError(f"{path} holds no landmarks. Give the file that Landmarks.save wrote.")
                z = file.get_tensor("z")
                rest = {name: file.get_tensor(name).numpy() for name in ("store", "episode", "step", "row")}
            return cls(z, **rest, stores=tuple(json.loads(about["stores"])))
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise JepaflowError(
                f"{path} is damaged ({error}). Remove it, and run: jepaflow subgoals fit RUN"
            ) from error


def choose_landmarks(
    latents: Latents, config: LandmarkConfig | None = None, allowed: Bool[ndarray, " n"] | None = None
) -> Landmarks:
    """Choose landmarks among the rows of training episodes.

    Args:
        latents: of training episodes (`cached_latents`).
        config: how many, and how.
        allowed: which rows may be chosen, e.g. those that show no shut door; all.

    Raises:
        JepaflowError: there are fewer different rows than landmarks asked for.
    """
    config = config or LandmarkConfig()
    rows = np.arange(len(latents.corpus)) if allowed is None else np.flatnonzero(allowed)
    if len(rows) < config.count and not config.every:
        raise JepaflowError(f"{len(rows)} frames cannot give {config.count} landmarks. Ask for fewer, or record more.")
    rng = np.random.default_rng(config.seed)
    if config.every:
        return _landmarks(latents, _along(latents, config, rows, rng))
    size = min(len(rows), max(config.candidates, 8 * config.count))
    rows = np.sort(rng.choice(rows, size, replace=False))
    z = latents.z[torch.from_numpy(rows)]
    chosen = farthest_points(z, config.count, int(rng.integers(size)))
    if config.method == "medoids":
        chosen = medoids(z, chosen, config.rounds)
    return _landmarks(latents, rows[chosen.numpy()])


def _along(
    latents: Latents, config: LandmarkConfig, allowed: Int[ndarray, " n"], rng: np.random.Generator
) -> Int[ndarray, " N"]:
    """Return rows along episodes, drawn until the next one would not fit."""
    corpus, found, left = latents.corpus, [np.zeros(0, np.int64)], config.count
    for episode in rng.permutation(len(corpus.first)):
        first, length = int(corpus.first[episode]), int(corpus.length[episode])
        rows = first + np.unique(np.append(np.arange(0, length, config.every), length - 1))
        rows = rows[np.isin(rows, allowed)]
        if len(rows) <= left:
            found.append(rows)
            left -= len(rows)
    return np.concatenate(found)


def _landmarks(latents: Latents, rows: Int[ndarray, " N"]) -> Landmarks:
    corpus = latents.corpus
    where = corpus.where[corpus.episode[rows]]
    return Landmarks(
        latents.z[torch.from_numpy(rows)],
        where[:, 0],
        where[:, 1],
        corpus.step[rows],
        corpus.row[rows],
        tuple(store.path.name for store in corpus.stores),
    )


@torch.no_grad()
def farthest_points(z: Float[Tensor, "n D"], count: int, first: int) -> Int[Tensor, " N"]:
    """Take ``first``, then always the row farthest from all taken (Gonzalez 1985: at most twice the best radius).

    Raises:
        JepaflowError: rows are not finite, or fewer than ``count`` are different.
    """
    if not bool(torch.isfinite(z).all()):
        raise JepaflowError("A latent is not finite. Use an earlier checkpoint, and run jepaflow doctor.")
    z = z - z.mean(0)
    square = z.square().sum(1)
    gap, chosen = torch.full_like(square, torch.inf), [first]
    while True:
        last = chosen[-1]
        torch.minimum(gap, (square + square[last] - 2 * (z @ z[last])).clamp_min_(0), out=gap)
        gap[last] = -1.0  # never again, even among equal rows
        if len(chosen) == count:
            return torch.tensor(chosen)
        best = int(gap.argmax())
        if float(gap[best]) <= 1e-6 * float(square[best] + 1e-12):
            raise JepaflowError(f"Only {len(chosen)} of {count} landmarks differ. Ask for fewer, or record more.")
        chosen.append(best)


@torch.no_grad()
def medoids(z: Float[Tensor, "n D"], chosen: Int[Tensor, " N"], rounds: int) -> Int[Tensor, " N"]:
    """Move each landmark to the row nearest to the mean of the rows that are nearest to it, some times over.

    A landmark to which no row is nearest stays; so do all where two would become one.
    """
    for _ in range(rounds):
        owner, _ = nearest(z, z[chosen])
        total = torch.zeros(len(chosen), z.shape[1]).index_add_(0, owner, z)
        count = torch.bincount(owner, minlength=len(chosen))
        mean = torch.where(count[:, None] > 0, total / count.clamp_min(1)[:, None], z[chosen])
        away = (z - mean[owner]).square().sum(1)
        order = torch.argsort(away, stable=True)
        order = order[torch.argsort(owner[order], stable=True)]  # by landmark, the nearest row first
        begin = torch.cumsum(count, 0) - count
        moved = torch.where(count > 0, order[begin.clamp_max(len(z) - 1)], chosen)
        if torch.equal(moved, chosen) or len(torch.unique(moved)) < len(moved):
            break
        chosen = moved
    return chosen


@torch.no_grad()
def nearest(z: Float[Tensor, "n D"], marks: Float[Tensor, "N D"]) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the nearest mark of each row, and how far it is."""
    size = marks.square().sum(1)
    found = [((size - 2 * part @ marks.mT).min(1), part.square().sum(1)) for part in torch.split(z, CHUNK)]
    owner = torch.cat([best.indices for best, _ in found] or [torch.empty(0, dtype=torch.long)])
    square = torch.cat([best.values + own for best, own in found] or [torch.empty(0)])
    return owner, square.clamp_min(0).sqrt()
