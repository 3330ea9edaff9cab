"""Does the latent see the object? A linear probe of places, on real latents and on imagined ones.

Ridge regression from the latents of training episodes to the store's simulator states; how strong the ridge must be is
chosen on a fifth of those episodes. Judged on held-out episodes, which the model was not trained on either.
The figures are `place_rows`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from benchmarks.place_rows import Reading, reading_rows
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.data.store import Store
from jepaflow.diagnosis.forecast import Windows, cut_windows
from jepaflow.diagnosis.heldout import held_out
from jepaflow.diagnosis.latents import Trajectory, choose_episodes, encode_episodes
from jepaflow.planning.goal import Probe
from jepaflow.training.checkpoint import Run

AHEAD = (1, 3, 5)
"""Blocks."""
IMAGINE_BATCH = 256
RADIUS = 0.025
"""m: the error that counts as 1, the radius within which a goal is reached."""
STRENGTHS = 10.0 ** np.arange(-6.0, 1.5, 0.5)
"""Ridges tried, per frame and latent dimension of unit variance."""


@dataclass(frozen=True)
class Place:
    """A thing whose place matters."""

    name: str
    columns: tuple[int, ...]
    """Where its coordinates (x, y, z; of several things one after the other) stand in a simulator state."""

    @property
    def count(self) -> int:
        """Return the number of things."""
        return len(self.columns) // 3


def places(state_names: Sequence[str]) -> list[Place]:
    """Return what has a place in an arm's world: the task's object first, which is the fingertips where no cube is.

    Raises:
        JepaflowError: the state names neither.
    """
    names = list(state_names)
    if "tcp_x" not in names:
        raise JepaflowError(
            "only the arms' worlds say where their fingertips and cubes are. Choose one of their protocols."
        )
    cubes = [i for i in range(len(names)) if f"cube{i}_x" in names]
    found = [Place("cube", tuple(names.index(f"cube{i}_{axis}") for i in cubes for axis in "xyz"))] if cubes else []
    return [*found, Place("fingertips", tuple(names.index(f"tcp_{axis}") for axis in "xyz"))]


def ridge(
    z: Float[np.ndarray, "n D"], y: Float[np.ndarray, "n Q"], episode: Int[np.ndarray, " n"], seed: int = 0
) -> tuple[Float[np.ndarray, "Q D"], Float[np.ndarray, " Q"]]:
    """Return weight and bias of the ridge regression whose strength predicts unseen episodes best.

    Raises:
        JepaflowError: there are fewer than five episodes to choose the strength on.
    """
    episodes = np.unique(episode)
    if len(episodes) < 5:
        raise JepaflowError(f"a probe cannot be fitted on {len(episodes)} episodes. Give at least 5.")
    aside = np.isin(episode, np.random.default_rng(seed).choice(episodes, len(episodes) // 5, replace=False))
    errors = []
    for strength in STRENGTHS:
        weight, bias = _solve(z[~aside], y[~aside], strength)
        errors.append(np.square(z[aside] @ weight.T + bias - y[aside]).sum())
    return _solve(z, y, float(STRENGTHS[int(np.argmin(errors))]))


def _solve(z: np.ndarray, y: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    mean, std, middle = z.mean(0), np.maximum(z.std(0), 1e-6), y.mean(0)
    x = (z - mean) / std
    gram = x.T @ x / len(x) + strength * np.eye(x.shape[1])
    weight = np.linalg.solve(gram, x.T @ (y - middle) / len(x)).T / std
    return weight, middle - weight @ mean


@dataclass(frozen=True)
class Readings:
    """Probes of a run, with what they were fitted on and the held-out windows that they are judged on."""

    places: tuple[Place, ...]
    """The task's object first."""
    probes: tuple[Probe, ...]
    fitted: str
    trajectories: list[Trajectory]
    """Held-out episodes; the true coordinates of all places ride behind each latent."""


def fit_probes(run: Run, episodes: int, seed: int) -> Readings:
    """Encode episodes of the run's store and fit a probe per place.

    Args:
        run: a trained run whose store has simulator states.
        episodes: at most so many training episodes, and so many held-out ones.
        seed: of their choice.

    Raises:
        JepaflowError: the store is gone, has no states, or too few episodes.
    """
    chosen = held_out(run)
    store = chosen.store
    if "state" not in store.columns:
        raise JepaflowError(f"{store.path} has no column 'state' to fit probes on. Convert a simulated dataset.")
    found = tuple(places(store.meta["features"]["state"]["names"]))
    train = _trajectories(run, store, choose_episodes(run.train_episodes, episodes, seed), found)
    held = _trajectories(run, store, choose_episodes(chosen.episodes, episodes, seed), found)
    both = torch.cat([t.z for t in train]).double().numpy()
    owner = np.repeat([t.episode for t in train], [len(t.z) for t in train])
    at, probes = run.model.config.latent_dim, []
    z = both[:, :at]
    for place in found:
        size = len(place.columns)
        weight, bias = ridge(z, both[:, at : at + size], owner, seed)
        parts = (weight, bias, np.full(size, RADIUS))
        probes.append(Probe(*(torch.from_numpy(part).float().to(run.model.device) for part in parts)))
        at += size
    fitted = f"ridge on {len(z)} frames of {len(train)} training episodes, judged on {len(held)} held-out ones"
    return Readings(found, tuple(probes), fitted, held)


def _trajectories(run: Run, store: Store, episodes: list[int], found: Sequence[Place]) -> list[Trajectory]:
    """Encode episodes; put the places' true coordinates behind the latents."""
    config = run.model.config
    encoded = encode_episodes(
        run.model,
        store,
        episodes,
        cameras=config.cameras,
        block=config.block,
        phases=[0],
        proprio=config.proprio_dim > 0,
    )
    columns, out = [c for place in found for c in place.columns], []
    for one in encoded:
        states = store.read("state", store.episode_rows(one.episode)[:: config.block])[:, columns]
        known = torch.cat([one.z, torch.from_numpy(np.asarray(states, np.float32))], 1)
        out.append(Trajectory(one.episode, one.phase, known, one.blocks))
    return out


def probe_rows(run: Run, readings: Readings, name: str) -> list[Row]:
    """Return the figures of each place (see `reading_rows`), from real latents and from those imagined `AHEAD` blocks ahead."""
    rows: list[Row] = []
    dim, device = run.model.config.latent_dim, run.model.device
    known = torch.cat([t.z for t in readings.trajectories])
    owner = np.repeat([t.episode for t in readings.trajectories], [len(t.z) for t in readings.trajectories])
    windows = cut_windows(readings.trajectories, run.model.config.history, max(AHEAD))
    ahead = [] if windows is None else _ahead(run, windows)
    at = dim
    for place, probe in zip(readings.places, readings.probes, strict=True):
        part, at = slice(at, at + len(place.columns)), at + len(place.columns)

        def read(latents: Tensor, probe: Probe = probe) -> np.ndarray:
            return np.asarray(probe(latents[:, :dim].to(device)).cpu())

        seen = Reading(read(known), known[:, part].numpy(), owner)
        rows += reading_rows(f"{name}/{place.name}/real", seen, readings.fitted)
        for one in ahead:
            foreseen = Reading(
                read(one.imagined),
                one.then[:, part].numpy(),
                one.episode,
                read(one.then),
                one.now[:, part].numpy(),
                read(one.now),
            )
            rows += reading_rows(f"{name}/{place.name}/ahead{one.blocks}", foreseen, readings.fitted)
    return rows


@dataclass(frozen=True)
class Foresight:
    """Windows that reach so many blocks ahead: the latents (with the true places behind them) now and then, and the imagined."""

    blocks: int
    now: Float[Tensor, "n DQ"]
    then: Float[Tensor, "n DQ"]
    imagined: Float[Tensor, "n D"]
    episode: Int[np.ndarray, " n"]


def _ahead(run: Run, windows: Windows) -> list[Foresight]:
    """Roll every window out open loop."""
    parts, device, dim = [], run.model.device, run.model.config.latent_dim
    with torch.inference_mode():
        for begin in range(0, len(windows.reach), IMAGINE_BATCH):
            rows = slice(begin, begin + IMAGINE_BATCH)
            z, past, future = windows.history[rows, :, :dim], windows.past[rows], windows.future[rows]
            parts.append(run.model.rollout(z.to(device), past.to(device), future.to(device)).cpu())
    imagined, found = torch.cat(parts), []
    for blocks in AHEAD:
        there = windows.reach >= blocks
        if bool(there.any()):
            now, then = windows.history[there, -1], windows.target[there, blocks - 1]
            found.append(Foresight(blocks, now, then, imagined[there, blocks - 1], windows.episode[there].numpy()))
    return found
