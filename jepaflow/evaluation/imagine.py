"""What a model imagines, beside what came: real | reconstructed | imagined | imagined with another episode's actions.

The model is given H frames, one model step apart, and then nothing but the actions that were executed. A decoder draws
latents, and it errs too: so the real frames' own latents are drawn as well (*reconstructed*). What is missing there, latent
or decoder do not hold; what is missing only in the imagined row, the forecast lost. Actions of another episode, as
many, show whether the model listens to them at all. Each imagined latent's distance from the real frame's is given in
units of two training frames drawn at random, beside that of the forecast that nothing moves.

Drawing is `imagine_picture`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.data.store import Store
from jepaflow.diagnosis.heldout import HeldOut, held_out
from jepaflow.diagnosis.latents import encode_episodes, require_actions
from jepaflow.training.checkpoint import Run
from jepaflow.training.decoding import load_decoder
from jepaflow.training.picture_scores import psnr
from jepaflow.worldmodel.decoder import Decoder

NAMED = 12
"""held-out episodes that a message lists"""


@dataclass(frozen=True)
class Window:
    """Which part of which episode, and what to look at."""

    episode: int | None = None
    """E, its number in the store; left out: the first held-out one"""
    start: int = 0
    """T, control step of the first frame that the model is given"""
    horizon: int = 10
    """N, model steps to imagine"""
    camera: str | None = None
    """camera to draw; left out: the model's first"""
    other: int | None = None
    """episode whose actions the last row is given; left out: a held-out one, drawn with the seed"""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.start < 0 or self.seed < 0 or self.horizon < 1:
            raise JepaflowError("--start and --seed must not be negative, --horizon must be at least 1 model step.")


@dataclass(frozen=True)
class Imagination:
    """N model steps from the last frame that the model was given; index 0 is that frame."""

    run: str
    store: str
    episode: int
    trained_on: bool
    """whether the episode belongs to the training: then the picture flatters"""
    camera: str
    given: tuple[int, ...]
    """control steps of the frames given, the last is now"""
    block: int
    fps: float
    real: UInt8[np.ndarray, "L S S 3"]
    """of every control step from now on, L = N·K + 1"""
    reconstructed: UInt8[np.ndarray, "J S S 3"]
    imagined: UInt8[np.ndarray, "J S S 3"]
    mismatched: UInt8[np.ndarray, "J S S 3"] | None
    """imagined with another episode's actions"""
    psnr: Float[np.ndarray, " J"]
    """of the reconstructed frames, dB"""
    error: Float[np.ndarray, " J"]
    """distance of the imagined latents from the real ones; 1: as two training frames drawn at random"""
    mismatched_error: Float[np.ndarray, " J"] | None
    still: Float[np.ndarray, " J"]
    """the same of the forecast that nothing moves: how far the latent has really moved"""
    other: int | None
    """the episode whose actions were given instead"""

    @property
    def steps(self) -> int:
        """N."""
        return len(self.error) - 1


def imagine(run: Run, window: Window, dataset: Path | None = None) -> Imagination:
    """Let a model imagine a part of an episode and draw it with the run's decoder.

    Args:
        run: the run; its newest checkpoint must be the decoder's.
        window: what to imagine.
        dataset: a store to use instead of the run's own.

    Raises:
        JepaflowError: no decoder yet, no such episode or camera, an episode too short for the horizon, or a store that
            does not fit the model.
    """
    decoder = load_decoder(run.path, run.model.device)
    held = held_out(run, dataset)
    _require_fit(run, held.store)
    view = _view(run, held.store, window.camera)
    config, store = run.model.config, held.store
    episode = held.episodes[0] if window.episode is None else _known(run, held, window.episode, "--episode")
    now = _now(run, store, episode, window)
    steps = now + config.block * np.arange(window.horizon + 1)
    z, blocks = _encoded(run, store, episode, window.start)
    history, past, future = z[: config.history], blocks[: config.history - 1], blocks[config.history - 1 :]
    other = _other(run, held, episode, now, window)
    real_z = z[config.history - 1 :][: window.horizon + 1]
    own_z = _rollout(run, history, past, future[: window.horizon])
    rows = store.episode_rows(episode)[now : int(steps[-1]) + 1]
    real = store.pixels(rows, (config.cameras[view],))[:, 0]
    reconstructed = _draw(decoder, real_z, view)
    mismatched, mismatched_error = None, None
    if other is not None:
        plan = np.asarray(store.read("action", store.episode_rows(other)[now : int(steps[-1])]), np.float32)
        foreign = torch.from_numpy(plan).view(window.horizon, config.block, -1)
        mismatched_z = _rollout(run, history, past, foreign)
        mismatched, mismatched_error = _draw(decoder, mismatched_z, view), _error(decoder, mismatched_z, real_z)
    return Imagination(
        run.path.name, store.path.name, episode, episode not in held.episodes,
        store.cameras[0] if config.cameras[view] == "pixels" else config.cameras[view],
        tuple(int(s) for s in window.start + config.block * np.arange(config.history)), config.block, store.fps,
        real, reconstructed, _draw(decoder, own_z, view), mismatched, psnr(real[:: config.block], reconstructed),
        _error(decoder, own_z, real_z), mismatched_error, _error(decoder, real_z[:1].expand_as(real_z), real_z), other,
    )  # fmt: skip


def result_rows(shown: Imagination, name: str) -> list[Row]:
    """Errors by horizon, each beside what "nothing moves" and other actions give; of one window, so without interval."""
    where = f"one window: episode {shown.episode} from control step {shown.given[0]}; no interval"
    rows = []
    for step in range(1, shown.steps + 1):
        floors = {"still": float(shown.still[step]), "random_frames": 1.0}
        if shown.mismatched_error is not None:
            floors["other_actions"] = float(shown.mismatched_error[step])
        value = float(shown.error[step])
        note = f"latent error {step} model steps ahead, open loop; {where}"
        rows.append(Row(f"{name}/imagine/error@{step}", value, value, value, 1, 1, "random pairs", floors, {}, note))
    return rows


def _require_fit(run: Run, store: Store) -> None:
    require_actions(store, str(store.path))
    config = run.model.config
    if store.dim("action") != config.action_dim or store.image_size != config.image_size:
        raise JepaflowError(
            f"{store.path} has {store.dim('action')} action dimensions and frames of {store.image_size} px, "
            f"{run.path} takes {config.action_dim} and {config.image_size} px. Name a store that fits with --dataset.path."
        )
    if config.proprio_dim and store.dim("proprio") != config.proprio_dim:
        raise JepaflowError(
            f"{run.path} needs observation.state of size {config.proprio_dim}, {store.path} has {store.dim('proprio')}. "
            "Name a store that fits with --dataset.path."
        )


def _view(run: Run, store: Store, camera: str | None) -> int:
    """Number of the camera among the model's; the store's name of the primary one is understood too."""
    cameras = run.model.config.cameras
    name = "pixels" if camera == store.cameras[0] and camera not in cameras else camera
    if name is not None and name not in cameras:
        raise JepaflowError(f"{run.path} sees no camera {camera!r}; it sees {', '.join(cameras)}. Change --camera.")
    return 0 if name is None else cameras.index(name)


def _known(run: Run, held: HeldOut, episode: int, option: str) -> int:
    count = held.store.num_episodes
    if 0 <= episode < count:
        return episode
    some = ", ".join(map(str, held.episodes[:NAMED])) + (", …" if len(held.episodes) > NAMED else "")
    raise JepaflowError(
        f"{held.store.path} has no episode {episode}: it has 0 to {count - 1}, of which {run.path} was not trained on "
        f"{some}. Choose one with {option}."
    )


def _now(run: Run, store: Store, episode: int, window: Window) -> int:
    """Control step of the last frame given; refuses what reaches beyond the episode."""
    config, length = run.model.config, int(store.ep_len[episode])
    now = window.start + config.block * (config.history - 1)
    most = (length - 1 - now) // config.block
    if most >= window.horizon:
        return now
    given = f"{config.history} frames {config.block} control steps apart from --start {window.start} on"
    advice = f"give --horizon {most} at most" if most >= 1 else "choose an earlier --start or another --episode"
    raise JepaflowError(
        f"Episode {episode} of {store.path} has {length} frames; after {given}, it has no {window.horizon} model steps "
        f"left: {advice}."
    )


def _encoded(run: Run, store: Store, episode: int, start: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (T, D) and blocks (T − 1, K, A) of an episode, from control step ``start`` on."""
    config = run.model.config
    found = encode_episodes(
        run.model, store, [episode], cameras=config.cameras, block=config.block, phases=[start % config.block],
        proprio=config.proprio_dim > 0,
    )[0]  # fmt: skip
    first = start // config.block
    return found.z[first:], found.blocks[first:]


def _other(run: Run, held: HeldOut, episode: int, now: int, window: Window) -> int | None:
    """The episode whose actions are given instead: from the same control step on, as many; None where there is none."""
    need = now + run.model.config.block * window.horizon
    if window.other is not None:
        other = _known(run, held, window.other, "--other")
        if held.store.ep_len[other] < need:
            raise JepaflowError(
                f"Episode {other} of {held.store.path} has {int(held.store.ep_len[other])} frames, {need} are needed. "
                "Choose a longer one with --other, or leave it out."
            )
        return other
    able = [e for e in held.episodes if e != episode and held.store.ep_len[e] >= need]
    return int(np.random.default_rng(window.seed).choice(able)) if able else None


@torch.no_grad()
def _rollout(run: Run, history: torch.Tensor, past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
    """The last latent given, then the N imagined ones (N + 1, D)."""
    device = run.model.device
    ahead = run.model.rollout(history[None].to(device), past[None].to(device), future[None].to(device))[0].cpu()
    return torch.cat([history[-1:], ahead])


def _draw(decoder: Decoder, z: torch.Tensor, view: int) -> np.ndarray:
    pictures: np.ndarray = decoder.pictures(z.to(decoder.base.device))[:, view].cpu().numpy()
    return pictures


def _error(decoder: Decoder, z: torch.Tensor, real: torch.Tensor) -> np.ndarray:
    error: np.ndarray = decoder.error(z, real).double().cpu().numpy()
    return error
