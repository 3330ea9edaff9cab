"""Train a decoder on a run's frozen latents, so that people can see what a latent holds.

It never shapes the latent: rows are encoded once, without gradients (`cached_latents`), and what is trained holds no weight
of the model. ``decoder.safetensors`` has weights and sizes, ``decoder.json`` how it was made and what it is worth on
held-out episodes. Every two minutes an unfinished training is saved; the same command goes on with it.

Squared error alone would leave out what is small: a cube of 6 px is a hundredth of a frame. So a pixel's weight grows with
its difference from the median frame (``focus``). On `so101/push` (1,500 steps, without the hidden layer and the fading) the
cube's contrast came back to 18 % instead of 8 %, and 56 % of the squared error in its pixels was explained instead of 35 %.
The price: 0.8 dB of PSNR over the whole frame, and where the latent leaves something open, it is drawn more strongly than
its probability.
"""

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path, write_json
from jepaflow.common.results import commit, hardware
from jepaflow.training.checkpoint import Run, saved_checkpoints
from jepaflow.training.decoder_figures import decoder_figures
from jepaflow.training.device import choose_precision
from jepaflow.training.fitting import FitConfig, fit
from jepaflow.training.latents import Latents, cached_latents, weights_digest
from jepaflow.worldmodel.decoder import Decoder, DecoderConfig

SAMPLE, AMONG = 256, 4000
"""training frames that the median frame is taken of, and among how many they are chosen"""
WEIGHT_DECAY = 1e-3


@dataclass(frozen=True)
class DecodingConfig:
    """How a decoder is trained."""

    steps: int = 3000
    """optimizer steps; five minutes on one core for two cameras of 64 px"""
    batch_size: int = 16
    """frames in a step, each with all its cameras"""
    lr: float = 2e-3
    focus: float = 1.0
    """how much more a pixel counts that differs from the median frame as much as they do on average; 0: all count alike"""
    seed: int = 0
    save_seconds: float = 120.0
    """time between saves of an unfinished training"""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise JepaflowError("A decoder needs at least 1 step (--steps) and 1 frame in each (--batch-size).")
        if self.lr <= 0 or self.focus < 0 or self.seed < 0:
            raise JepaflowError("A decoder's --lr must be positive, --focus and --seed not negative.")


def pixel_loss(
    decoder: Decoder, drawn: Float[Tensor, "B V S S 3"], frames: UInt8[Tensor, "B V S S 3"], focus: float
) -> Tensor:
    """Weighted squared error of pictures, in each camera's variance: 1 is what the median frame gets at ``focus`` 0.

    Weights are 1 + focus · (difference from the median frame) / (its mean over the batch), over their own mean.
    """
    real = frames.float()
    error = ((drawn - real) / decoder.deviation).square().mean(-1)
    if not focus:
        return error.mean()
    apart = (real - decoder.base).abs().mean(-1)
    weight = 1 + focus * apart / apart.mean().clamp_min(1e-6)
    return (weight * error).mean() / (1 + focus)


def differing_rows(z: Float[Tensor, "n D"], count: int, among: int) -> Int[ndarray, " m"]:
    """Choose up to ``count`` rows whose latents lie far apart, each the one farthest from those chosen before.

    Their median shows the empty scene. That of all frames would show the pose in which all episodes begin or wait, as a sharp
    ghost that no decoder can take away again.
    """
    rows = np.unique(np.linspace(0, len(z) - 1, min(among, len(z))).astype(np.int64))
    offered = z[torch.from_numpy(rows)]
    chosen, gap = [0], torch.full((len(rows),), torch.inf)
    for _ in range(min(count, len(rows)) - 1):
        gap = torch.minimum(gap, (offered - offered[chosen[-1]]).square().sum(-1))
        chosen.append(int(gap.argmax()))
    return np.unique(rows[chosen])


def fit_decoder(run: Run, train: Latents, config: DecodingConfig, partial: Path | None = None) -> Decoder:
    """Fit a decoder to training latents and their frames; on the run's device, in eval mode."""
    model, device = run.model.config, run.model.device
    torch.manual_seed(config.seed)
    decoder = Decoder(DecoderConfig(model.latent_dim, model.image_size, model.cameras))
    sample = differing_rows(train.z, SAMPLE, AMONG)
    decoder.fit_statistics(train.z, torch.from_numpy(train.corpus.frames(sample, model.cameras)))
    decoder.to(device)
    dtype, _ = choose_precision("auto", device)

    def loss(step: int) -> Tensor:
        rows = np.random.default_rng([config.seed, 7, step]).integers(0, len(train.corpus), config.batch_size)
        frames = torch.from_numpy(train.corpus.frames(rows, model.cameras)).to(device)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            drawn = decoder(train.z[torch.from_numpy(rows)].to(device))
        return pixel_loss(decoder, drawn, frames, config.focus)

    about = json.dumps(
        [asdict(config), asdict(decoder.config), weights_digest(run.model), len(train.corpus)], sort_keys=True
    )
    fitting = FitConfig(config.steps, config.lr, WEIGHT_DECAY)
    fit(decoder, loss, fitting, "Train the decoder", partial, about, config.save_seconds)
    return decoder.requires_grad_(False)


def train_decoder(run: Run, config: DecodingConfig, command: str, dataset: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Train the decoder of a run, save it in its folder, and return what ``decoder.json`` says.

    Args:
        run: the run; its model is read, never changed.
        config: the training.
        command: what a reader types to make it again, for the record.
        dataset: where the run's stores lie now; empty = where they lay.

    Raises:
        JepaflowError: for stores that are missing or not the run's, or a run without training frames.
    """
    begin = time.monotonic()
    train, val = cached_latents(run, dataset)
    if len(train.corpus) == 0:
        raise JepaflowError(f"{run.path} has no training frames to learn pictures from. Train it on more episodes.")
    partial = run.path / "decoder.partial"
    decoder = fit_decoder(run, train, config, partial)
    rows = decoder_figures(decoder, train, val)
    save_decoder(run.path, decoder, run.step)
    partial.unlink(missing_ok=True)
    record = {
        "command": command,
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "seconds": round(time.monotonic() - begin, 1),
        "checkpoint_step": run.step,
        "training": asdict(config),
        "decoder": asdict(decoder.config),
        "parameters": sum(p.numel() for p in decoder.parameters()),
        "episodes": {"trained": len(train.corpus.length), "held_out": len(val.corpus.length)},
        "rows": [asdict(row) for row in rows],
    }
    write_json(run.path / "decoder.json", record)
    return record


def save_decoder(folder: Path, decoder: Decoder, checkpoint_step: int) -> None:
    """Write ``decoder.safetensors``: weights, and in the metadata the sizes and the checkpoint they belong to."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in sorted(decoder.state_dict().items())}
    about = {"decoder": asdict(decoder.config), "checkpoint_step": checkpoint_step}
    with atomic_path(folder / "decoder.safetensors") as temporary:
        save_file(tensors, temporary, {"jepaflow_decoder": json.dumps(about)})


def load_decoder(folder: Path, device: str | torch.device = "cpu") -> Decoder:
    """Load the decoder of a run, in eval mode.

    Raises:
        JepaflowError: when there is none, it is damaged, or it belongs to another checkpoint than the newest one.
    """
    path = Path(folder) / "decoder.safetensors"
    if not path.is_file():
        raise JepaflowError(f"{folder} has no decoder yet. Train one with: jepaflow decoder {folder}")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["jepaflow_decoder"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (the file is no mapping)
        decoder, step = Decoder(DecoderConfig.from_dict(about["decoder"])), int(about["checkpoint_step"])
        decoder.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise JepaflowError(f"{path} is damaged ({error}). Train it anew: jepaflow decoder {folder}") from error
    newest = saved_checkpoints(Path(folder))
    if newest and int(newest[-1].name) != step:
        raise JepaflowError(
            f"The decoder of {folder} belongs to its checkpoint of step {step}, the newest is of step "
            f"{int(newest[-1].name)}. Train it anew: jepaflow decoder {folder}"
        )
    return decoder.to(device).eval().requires_grad_(False)
