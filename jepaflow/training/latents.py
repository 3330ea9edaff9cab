"""Latents of a run's episodes, every row encoded once and kept in the run folder.

The file's name carries the checkpoint's weights and what the stores hold, so a new checkpoint or a store converted anew
gets its own latents; older files are removed.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.training.checkpoint import Run
from jepaflow.training.corpus import Corpus, open_corpora
from jepaflow.worldmodel.jepa import JEPA

ENCODE_BATCH = 64
SAMPLED_FRAMES = 64
"""frames whose bytes enter the fingerprint of the stores"""


@dataclass(frozen=True)
class Latents:
    """Episodes of a run and the latent of every row."""

    corpus: Corpus
    z: Float[Tensor, "n D"]
    """on the CPU, float32, rows as in ``corpus``"""

    def take(self, episodes: Int[ndarray, " m"]) -> "Latents":
        """Some of the episodes, in the given order."""
        first, length = self.corpus.first, self.corpus.length
        rows = np.concatenate([first[e] + np.arange(length[e]) for e in episodes] + [np.empty(0, np.int64)])
        return Latents(self.corpus.take(episodes), self.z[torch.from_numpy(rows)])

    def model_steps(self, block: int, phase: int = 0) -> list[tuple[Float[Tensor, "_ D"], Float[Tensor, "_ K A"]]]:
        """Each episode as latents one model step apart, from control step ``phase`` on, and the whole blocks that follow.

        The last frame of an episode may have fewer than K = ``block`` actions after it; then it has no block.
        """
        found, actions = [], torch.from_numpy(self.corpus.actions)
        for first, length in zip(self.corpus.first + phase, self.corpus.length - phase):
            rows = slice(int(first), int(first + max(0, length)))
            blocks = actions[rows][: max(0, int(length)) // block * block]
            found.append((self.z[rows][::block], blocks.view(-1, block, actions.shape[1])))
        return found


def weights_digest(model: JEPA) -> str:
    """Hash of a model's weights, its scalers and statistics included."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def corpus_digest(corpus: Corpus, cameras: tuple[str, ...]) -> str:
    """Hash of what the episodes hold: their places, actions, states, and a sample of their frames."""
    digest = hashlib.sha256(repr(cameras).encode())
    for array in (corpus.where, corpus.length, corpus.actions, corpus.proprio):
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    if len(corpus):
        sample = np.unique(np.linspace(0, len(corpus) - 1, SAMPLED_FRAMES).astype(np.int64))
        digest.update(corpus.frames(sample, cameras).tobytes())
    return digest.hexdigest()[:16]


@torch.inference_mode()
def encode_corpus(model: JEPA, corpus: Corpus, phase: str) -> Float[Tensor, "n D"]:
    """Encode every row with the model in eval mode.

    Raises:
        JepaflowError: naming the episode of the first latent that is not finite.
    """
    config, device = model.config, model.device
    out = torch.empty(len(corpus), config.latent_dim)
    with progress(phase, len(corpus)) as advance:
        for begin in range(0, len(corpus), ENCODE_BATCH):
            rows = np.arange(begin, min(begin + ENCODE_BATCH, len(corpus)))
            pixels = torch.from_numpy(corpus.frames(rows, config.cameras))[:, None].to(device)
            state = None
            if config.proprio_dim:
                assert corpus.proprio is not None
                state = torch.from_numpy(corpus.proprio[rows])[:, None].to(device)
            out[begin : begin + len(rows)] = model.encode(pixels, state)[:, 0].cpu()
            advance(len(rows))
    bad = ~torch.isfinite(out).all(1).numpy()
    if bad.any():
        row = int(bad.argmax())
        store, episode = corpus.where[corpus.episode[row]]
        path, number = corpus.stores[store].path, corpus.stores[store].source_episode(int(episode))
        raise JepaflowError(
            f"The latent of {path}, episode {number}, frame {int(corpus.step[row])} is not finite. "
            "Use an earlier checkpoint, and run jepaflow doctor on the dataset."
        )
    return out


def cached_latents(run: Run, dataset: tuple[Path, ...] = ()) -> tuple[Latents, Latents]:
    """Latents of the training and of the held-out episodes, from the run folder or encoded now.

    Args:
        run: the run.
        dataset: where its stores lie now; empty = where they lay when it was trained.

    Raises:
        JepaflowError: as `open_corpora`.
    """
    train, val = open_corpora(run, dataset)
    cameras = run.model.config.cameras
    marks = [weights_digest(run.model), corpus_digest(train, cameras), corpus_digest(val, cameras)]
    key = hashlib.sha256("".join(marks).encode()).hexdigest()[:16]
    path = run.path / "latents" / f"{run.step:06d}-{key}.safetensors"
    tensors = _read(path, len(train), len(val))
    if tensors is None:
        run.model.eval()
        tensors = {
            "train": encode_corpus(run.model, train, "Encode training episodes"),
            "val": encode_corpus(run.model, val, "Encode held-out episodes"),
        }
        with atomic_path(path) as temporary:
            save_file(tensors, temporary)
        for old in path.parent.glob("*.safetensors"):
            if old != path:
                old.unlink(missing_ok=True)
    return Latents(train, tensors["train"]), Latents(val, tensors["val"])


def _read(path: Path, train: int, val: int) -> dict[str, Tensor] | None:
    """The cached tensors; None when there are none or the file is damaged (it is then made anew)."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError):
        return None
    whole = {"train", "val"} <= set(tensors) and len(tensors["train"]) == train and len(tensors["val"]) == val
    return tensors if whole else None
