"""The small loop that fits heads and clones: AdamW, a short warm-up, a cosine to zero.

``loss(step)`` must be a function of the step alone (it draws from generators seeded by it): then a training that was saved
half-way ends with the weights of one that was not interrupted.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from jepaflow.common.console import console, progress
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.training.checkpoint import laid_out

WARMUP = 0.02
"""share of the steps"""


@dataclass(frozen=True)
class FitConfig:
    """Steps and rates."""

    steps: int
    lr: float
    weight_decay: float
    clip: float = 1.0
    """largest gradient norm"""


def rate(step: int, config: FitConfig) -> float:
    """Learning rate of a step."""
    warmup = min(1.0, (step + 1) / max(1, round(WARMUP * config.steps)))
    return config.lr * warmup * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def fit(
    module: nn.Module,
    loss: Callable[[int], Tensor],
    config: FitConfig,
    phase: str,
    partial: Path | None = None,
    about: str = "",
    save_seconds: float = 120.0,
) -> None:
    """Fit a module and leave it in eval mode.

    Args:
        module: what ``loss`` computes with.
        loss: the loss of a step; a function of the step and the weights.
        config: steps and rates.
        phase: name for the progress bar and messages.
        partial: where an unfinished training is kept, and looked for; None = nowhere.
        about: what the training is; one that was about something else is not continued.
        save_seconds: time between saves.

    Raises:
        JepaflowError: when the loss or gradient is not finite; the weights of the step before are kept.
    """
    module.train()
    matrices = [p for p in module.parameters() if p.ndim > 1]
    vectors = [p for p in module.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    first = _restore(partial, about, module, optimizer) if partial is not None else 0
    saved = time.monotonic()
    with progress(phase, config.steps) as advance:
        advance(first)
        for step in range(first, config.steps):
            for group in optimizer.param_groups:
                group["lr"] = rate(step, config)
            value = loss(step)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip)
            if not bool(value.isfinite() & norm.isfinite()):
                raise JepaflowError(
                    f"{phase}: step {step} is not finite. Lower the learning rate, or run jepaflow doctor."
                )
            optimizer.step()
            advance(1, note=f"loss {float(value.detach()):.3f}" if step % 50 == 0 else None)
            if partial is not None and time.monotonic() - saved > save_seconds:
                _save(partial, about, step + 1, module, optimizer)
                saved = time.monotonic()
    module.eval()


def _save(path: Path, about: str, step: int, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    tensors = {f"weights/{key}": value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    for name, parameter in module.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"state/{name}/{key}"] = value.detach().cpu().contiguous()
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"about": about, "step": json.dumps(step)})


def _restore(path: Path, about: str, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Continue from ``path``; the step, 0 where there is nothing that fits."""
    if not path.is_file():
        return 0
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (the file is no mapping)
        if meta["about"] != about:
            return 0
        step = int(json.loads(meta["step"]))
        module.load_state_dict({k.removeprefix("weights/"): v for k, v in tensors.items() if k.startswith("weights/")})
        for name, parameter in module.named_parameters():
            optimizer.state[parameter] = {
                key: laid_out(value, parameter)
                for key in ("step", "exp_avg", "exp_avg_sq")
                if (value := tensors.get(f"state/{name}/{key}")) is not None
            }
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        console.print(f"{path} is damaged ({error}); the training starts anew.")
        return 0
    console.print(f"Goes on at step {step}: {path}")
    return step
