"""What probes are fitted on and judged on: frames of training episodes, frames of held-out ones, and what is true there.

Probes are fitted on episodes that the model trained on, since that is what a user of the model has, and judged on episodes
that neither model nor probe has seen. Quantities are z-scored by the training frames' statistics; one that hardly varies
there (a cube's height on a table) is left out, and so is a target none of whose quantities varies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.data.store import Store
from jepaflow.diagnosis.foresight import owners
from jepaflow.diagnosis.heldout import HeldOut, held_out
from jepaflow.diagnosis.latents import Trajectory, choose_episodes, encode_episodes, require_actions
from jepaflow.diagnosis.probe_floors import floor_features
from jepaflow.diagnosis.probe_targets import Target, find_targets, read_targets, slices
from jepaflow.diagnosis.ridge import FOLDS
from jepaflow.diagnosis.suits import check_fit, check_rules
from jepaflow.training.checkpoint import Run

STILL = 1e-4
"""Deviation of a quantity (m, degree, px, share) below which there is nothing to read."""
LATENT = "latent"


@dataclass(frozen=True)
class Asked:
    """A target as it is probed: which columns of the quantities are its coordinates.

    ``told`` says that proprioception is the target itself, and so no floor.
    """

    name: str
    coordinates: tuple[str, ...]
    at: slice
    yes_no: bool
    told: bool


@dataclass(frozen=True)
class Sample:
    """Frames of some episodes.

    Attributes:
        trajectories: their latents.
        true: z-scored quantities.
        episode: of each frame.
        features: what probes read: the latent and the floors.
    """

    trajectories: list[Trajectory]
    true: Float[np.ndarray, "n Q"]
    episode: Int[np.ndarray, " n"]
    features: dict[str, Float[np.ndarray, "n F"]]


@dataclass(frozen=True)
class Material:
    """Training and held-out frames with the targets asked, those left out, and why these episodes."""

    train: Sample
    held: Sample
    asked: tuple[Asked, ...]
    left_out: tuple[str, ...]
    why: str


def gather(run: Run, dataset: Path | None, episodes: int, held: int, seed: int) -> Material:
    """Encode frames, one a model step, and read what is true.

    Args:
        run: the run to probe.
        dataset: a store to use instead of the run's own.
        episodes: at most so many training episodes.
        held: at most so many held-out ones.
        seed: of their choice and of the random encoder.

    Raises:
        JepaflowError: when a store is gone, does not suit the model, or tells nothing to look for.
    """
    chosen = held_out(run, dataset)
    judged = chosen.store
    store, trained = trained_episodes(run, chosen)
    targets = find_targets(judged)
    if find_targets(store) != targets:
        raise JepaflowError(
            f"{judged.path} tells other things than {store.path}, on which the probes are fitted. Name a store of the same world."
        )
    parts = []
    for source, some, limit in ((store, trained, episodes), (judged, chosen.episodes, held)):
        require_actions(source, str(source.path))
        check_fit(source, run.model.config)
        check_rules(source, run)
        trajectories = encode(run, source, choose_episodes(some, limit, seed))
        parts.append((source, trajectories, truths(source, targets, trajectories)))
    asked, keep, left_out = _ask(targets, parts[0][2])
    known = parts[0][2][:, keep]
    middle, spread = known.mean(0), known.std(0)
    train, other = (_sample(run, *part[:2], (part[2][:, keep] - middle) / spread, seed) for part in parts)
    return Material(train, other, asked, left_out, chosen.why)


def trained_episodes(run: Run, chosen: HeldOut) -> tuple[Store, list[int]]:
    """Which episodes of which store to fit probes on: the judging store's that were trained on, else the run's own.

    Raises:
        JepaflowError: when neither has enough of them.
    """
    split = read_json(run.path / "split.json")
    own = [Path(path) for path in run.config["dataset"]["path"]]
    for path, train in zip(own, split["train"]):
        if path.resolve() == chosen.store.path.resolve():
            return chosen.store, sorted(train)
    rest = sorted(set(range(chosen.store.num_episodes)) - set(chosen.episodes))
    if len(rest) >= FOLDS:
        return chosen.store, rest
    if not run.store_path.is_file():
        raise JepaflowError(
            f"{chosen.store.path} has {len(rest)} episodes that {run.path} was trained on and its own store "
            f"{run.store_path} is gone, so there is nothing to fit probes on. Bring the store back."
        )
    return Store(run.store_path), run.train_episodes


def encode(run: Run, store: Store, episodes: Sequence[int]) -> list[Trajectory]:
    """Latents of all frames at model-step spacing."""
    config = run.model.config
    return encode_episodes(
        run.model,
        store,
        episodes,
        cameras=config.cameras,
        block=config.block,
        phases=[0],
        proprio=config.proprio_dim > 0,
    )


def truths(store: Store, targets: Sequence[Target], trajectories: Sequence[Trajectory]) -> Float[np.ndarray, "n Q"]:
    """What is true at all frames of some trajectories, in the units of the store."""
    return np.concatenate([read_targets(store, targets, t.episode, t.phase, t.blocks.shape[1]) for t in trajectories])


def latents(trajectories: Sequence[Trajectory]) -> Float[np.ndarray, "n D"]:
    """The latents of all frames of some trajectories."""
    return torch.cat([t.z for t in trajectories]).double().numpy()


def _ask(
    targets: Sequence[Target], known: Float[np.ndarray, "n Q"]
) -> tuple[tuple[Asked, ...], list[int], tuple[str, ...]]:
    """Targets as asked, columns to keep, and the names of targets that do not vary."""
    varies = known.std(0) > STILL
    asked: list[Asked] = []
    keep: list[int] = []
    left_out = []
    for target, at in zip(targets, slices(targets)):
        columns = [i for i in range(at.start, at.stop) if varies[i]]
        if not columns:
            left_out.append(target.name)
            continue
        names = tuple(target.coordinates[i - at.start] for i in columns)
        own = target.column == "proprio" and not target.rate
        asked.append(Asked(target.name, names, slice(len(keep), len(keep) + len(columns)), target.yes_no, own))
        keep += columns
    if not asked:
        raise JepaflowError(
            "Nothing that could be read from the latents varies among these episodes. Use more of them."
        )
    return tuple(asked), keep, tuple(left_out)


def _sample(
    run: Run, store: Store, trajectories: list[Trajectory], true: Float[np.ndarray, "n Q"], seed: int
) -> Sample:
    features = {LATENT: latents(trajectories), **floor_features(run.model, store, trajectories, seed)}
    return Sample(trajectories, true, owners(trajectories), features)
