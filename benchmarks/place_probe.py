"""Does the latent see the object? A linear probe of places, on real latents and on imagined ones.

Ridge regression from the real latents of training episodes to the store's simulator states. How strong the ridge must be
is chosen among those episodes by how well it reads real *and imagined* latents: a weak one leans on directions in which
real latents hardly vary, and misreads imagined ones, whose errors lie there as well (on a push model R2 .43 on real
latents became -.18 three blocks ahead, where a stronger ridge kept .56 and .58). Judged on held-out episodes, which the
model was not trained on either.
The figures are `place_rows`'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from benchmarks.place_rows import Reading, reading_rows
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.data.store import Store
from jepaflow.diagnosis.foresight import Foresight, carrying, foresee, owners
from jepaflow.diagnosis.heldout import held_out
from jepaflow.diagnosis.latents import Trajectory, choose_episodes
from jepaflow.diagnosis.probe_data import encode
from jepaflow.diagnosis.ridge import Others, ridge
from jepaflow.planning.goal import Probe
from jepaflow.training.checkpoint import Run

RADIUS = 0.025
"""m: the error that counts as 1, the radius within which a goal is reached."""


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


@dataclass(frozen=True)
class Readings:
    """Probes of a run, with what they were fitted on and the held-out windows that they are judged on."""

    places: tuple[Place, ...]
    """The task's object first."""
    probes: tuple[Probe, ...]
    fitted: str
    train: list[Trajectory]
    """Training episodes; the true coordinates of all places ride behind each latent."""
    held: list[Trajectory]
    """Held-out episodes, likewise."""


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
    known = torch.cat([t.z for t in train])
    ahead = list(_ahead(run, train).values())
    at, probes, z = run.model.config.latent_dim, [], known[:, : run.model.config.latent_dim]
    for place in found:
        part, at = slice(at, at + len(place.columns)), at + len(place.columns)
        also = [(one.imagined, one.then[:, part], one.episode) for one in ahead]
        probes.append(_probe((z, known[:, part], owners(train)), also, seed))
    fitted = (
        f"{run.path.name} at step {run.step}; ridge on {len(z)} frames of {len(train)} training episodes, "
        f"judged on {len(held)} held-out ones"
    )
    return Readings(found, tuple(probes), fitted, train, held)


Frames = tuple[Float[Tensor, "n D"], Float[Tensor, "n Q"], Int[np.ndarray, " n"]]


def _probe(known: Frames, also: Sequence[Frames], seed: int) -> Probe:
    """Fit a probe to known frames that shall read others too."""
    others: Others | None = None
    if also:
        z, y = (torch.cat(parts).double().numpy() for parts in ([a[0] for a in also], [a[1] for a in also]))
        others = z, y, np.concatenate([a[2] for a in also])
    weight, bias, _ = ridge((known[0].double().numpy(), known[1].double().numpy(), known[2]), others, seed)
    return Probe(*(torch.from_numpy(part).float() for part in (weight, bias, np.full(len(bias), RADIUS))))


def _trajectories(run: Run, store: Store, episodes: list[int], found: Sequence[Place]) -> list[Trajectory]:
    """Encode episodes; put the places' true coordinates behind the latents."""
    config, encoded = run.model.config, encode(run, store, episodes)
    columns = [c for place in found for c in place.columns]
    return carrying(
        encoded, lambda one: store.read("state", store.episode_rows(one.episode)[:: config.block])[:, columns]
    )


def probe_rows(run: Run, readings: Readings, name: str, seed: int = 0) -> list[Row]:
    """Return the figures of each place (see `reading_rows`), from real latents and from those imagined `AHEAD` blocks ahead.

    Rows ``ahead<n>`` read imagined latents with the probe of real ones, as a planner does. Rows ``ahead<n>_refit`` read
    them with a probe that was fitted to imagined latents of training episodes: what these are worse by than real ones is
    forgotten by the predictor, what ``ahead<n>`` is worse by than they is a shift that a probe (or a cost) does not know.
    """
    rows: list[Row] = []
    dim, known, owner = run.model.config.latent_dim, torch.cat([t.z for t in readings.held]), owners(readings.held)
    held, train = _ahead(run, readings.held), _ahead(run, readings.train)
    at = dim
    for place, probe in zip(readings.places, readings.probes, strict=True):
        part, at = slice(at, at + len(place.columns)), at + len(place.columns)
        guess = _arms_guess(readings, part, seed) if place.name != "fingertips" else None
        arm = None if guess is None else guess(known)
        seen = Reading(_read(probe, known[:, :dim]), known[:, part].numpy(), owner, arm=arm)
        rows += reading_rows(f"{name}/{place.name}/real", seen, readings.fitted)
        for blocks, one in held.items():
            then, now = (_read(probe, z[:, :dim]) for z in (one.then, one.now))
            foreseen = Reading(
                _read(probe, one.imagined),
                one.then[:, part].numpy(),
                one.episode,
                then,
                one.now[:, part].numpy(),
                now,
                None if guess is None else guess(one.then),
            )
            rows += reading_rows(f"{name}/{place.name}/ahead{blocks}", foreseen, readings.fitted)
            other = train[blocks]
            anew = _probe((other.imagined, other.then[:, part], other.episode), (), seed)
            told = f"fitted to imagined latents; {readings.fitted}"
            foreseen = replace(foreseen, read=_read(anew, one.imagined))
            rows += reading_rows(f"{name}/{place.name}/ahead{blocks}_refit", foreseen, told)
    return rows


def _arms_guess(readings: Readings, part: slice, seed: int) -> Callable[[Tensor], np.ndarray]:
    """Return what guesses a thing's place from where the fingertips truly are: a pushed cube is near them.

    The floor of "the latent sees the cube": a quadratic in the fingertips' coordinates, which stand last.
    """

    def features(known: Float[Tensor, "n DQ"]) -> Float[np.ndarray, "n 9"]:
        tips = known[:, -3:].double().numpy()
        return np.concatenate([tips, tips[:, [0, 0, 0, 1, 1, 2]] * tips[:, [0, 1, 2, 1, 2, 2]]], 1)

    known = torch.cat([t.z for t in readings.train])
    weight, bias, _ = ridge((features(known), known[:, part].double().numpy(), owners(readings.train)), seed=seed)
    return lambda held: np.asarray(features(held) @ weight.T + bias)


def _read(probe: Probe, z: Float[Tensor, "n D"]) -> Float[np.ndarray, "n Q"]:
    return np.asarray(probe(z))


def _ahead(run: Run, trajectories: Sequence[Trajectory]) -> dict[int, Foresight]:
    """Roll every window out open loop; return those that reach `AHEAD` blocks ahead."""
    config = run.model.config
    return foresee(run.model, trajectories, config.latent_dim, config.history)
