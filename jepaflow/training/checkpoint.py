"""Checkpoints: LeRobot's folder convention, safetensors and JSON only, whole or absent.

``checkpoints/000500/{pretrained_model/{config.json, model.safetensors}, training_state/{optimizer_state.safetensors,
training_step.json}}`` and the symbolic link ``checkpoints/last``. A checkpoint is written under a temporary name, flushed
and renamed, then the link is replaced by a rename, then older ones are removed: whenever the process dies, ``last``
leads to a whole checkpoint. There is no saved random state, since everything random in step s is a function of
(seed, s).
"""

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, sync_directory, write_json
from jepaflow.training.device import choose_device
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig


@dataclass(frozen=True)
class Run:
    """A trained run, ready to use: the model is in eval mode."""

    path: Path
    model: JEPA
    config: dict[str, Any]
    """the training configuration, as saved"""
    store_path: Path
    """the first store it was trained on"""
    train_episodes: list[int]
    val_episodes: list[int]
    step: int


def _remove(path: Path) -> None:
    """Delete a file, a link (not what it leads to) or a folder."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def _point_last(root: Path, checkpoint: Path) -> None:
    """Make ``last`` lead to a checkpoint, by one rename."""
    link = root / f".last.{os.getpid()}.tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(checkpoint.name)
    os.replace(link, root / "last")
    sync_directory(root)


def _sync_file(path: Path) -> None:
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def _optimizer_tensors(model: JEPA, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"{name}/{key}"] = value.detach().cpu().contiguous()
    return tensors


def save_checkpoint(run: Path, step: int, model: JEPA, optimizer: torch.optim.Optimizer, keep: int = 2) -> Path:
    """Save model and optimizer as ``run/checkpoints/<step>`` and point ``last`` to it.

    Args:
        run: the run folder.
        step: optimizer steps done.
        model, optimizer: what to save.
        keep: how many checkpoints to keep, at least two.

    Raises:
        JepaflowError: when the disk refuses; earlier checkpoints stay as they are.
    """
    if keep < 2:
        raise JepaflowError(
            f"--keep is {keep}; keep at least 2 checkpoints, so that one is whole while the next is written."
        )
    root = run / "checkpoints"
    final, temporary = root / f"{step:06d}", root / f".{step:06d}.{os.getpid()}.tmp"
    try:
        root.mkdir(parents=True, exist_ok=True)
        for stale in root.glob(".*.tmp"):
            _remove(stale)
        weights, state = temporary / "pretrained_model", temporary / "training_state"
        weights.mkdir(parents=True)
        state.mkdir()
        # Sorted, contiguous copies: the file is then a pure function of the weights.
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in sorted(model.state_dict().items())},
            weights / "model.safetensors",
        )
        write_json(weights / "config.json", {"type": "jepaflow", **asdict(model.config)})
        save_file(_optimizer_tensors(model, optimizer), state / "optimizer_state.safetensors")
        write_json(state / "training_step.json", {"step": step})
        for file in (weights / "model.safetensors", state / "optimizer_state.safetensors"):
            _sync_file(file)
        if final.exists():
            shutil.rmtree(final)
        os.replace(temporary, final)
        _point_last(root, final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise JepaflowError(
            f"Cannot save the checkpoint {final}: {error}. Free some space and go on with --resume."
        ) from error
    for old in saved_checkpoints(run)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)  # one that cannot be deleted harms nobody
    return final


def saved_checkpoints(run: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first. Half-written ones have temporary names and do not count."""
    root = run / "checkpoints"
    found = (
        [p for p in root.glob("[0-9]*") if (p / "training_state" / "training_step.json").is_file()]
        if root.is_dir()
        else []
    )
    return sorted(found, key=lambda p: int(p.name))


def _load_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise JepaflowError(f"{path} is damaged or missing ({error}). Use an older checkpoint of the run.") from error


def load_model(folder: Path) -> JEPA:
    """Load a model from ``<checkpoint>/pretrained_model`` (config.json + model.safetensors), in eval mode.

    Raises:
        JepaflowError: when a file is missing or damaged, or the weights are not this model's.
    """
    values = read_json(folder / "config.json")
    values.pop("type", None)
    try:
        model = JEPA(JEPAConfig.from_dict(values))
    except (TypeError, KeyError) as error:
        raise JepaflowError(f"{folder / 'config.json'} does not describe a jepaflow model ({error}).") from error
    try:
        model.load_state_dict(_load_tensors(folder / "model.safetensors"))
    except RuntimeError as error:
        raise JepaflowError(
            f"{folder / 'model.safetensors'} does not fit its config.json: {str(error).splitlines()[-1].strip()}"
        ) from error
    return model.eval()


def laid_out(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """An optimizer's saved tensor on its parameter's device and, if it is as large, in its memory layout.

    Fused optimizers walk through memory and do not look at strides: beside channels-last weights, contiguous averages would
    be taken for those of other weights.
    """
    if value.shape != parameter.shape:
        return value.to(parameter.device)  # the count of steps
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def restore(checkpoint: Path, model: JEPA, optimizer: torch.optim.Optimizer) -> int:
    """Put a checkpoint's weights and optimizer state into ``model`` and ``optimizer``; returns the step.

    Raises:
        JepaflowError: when a file is damaged or of another model; then nothing was changed.
    """
    weights = _load_tensors(checkpoint / "pretrained_model" / "model.safetensors")
    tensors = _load_tensors(checkpoint / "training_state" / "optimizer_state.safetensors")
    step = int(read_json(checkpoint / "training_state" / "training_step.json")["step"])
    states = {}
    for name, parameter in model.named_parameters():
        prefix = f"{name}/"
        state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if not {"step", "exp_avg", "exp_avg_sq"} <= set(state) or state["exp_avg"].shape != parameter.shape:
            raise JepaflowError(f"{checkpoint} holds no optimizer state for {name}. Use an older checkpoint.")
        states[parameter] = {key: laid_out(value, parameter) for key, value in state.items()}
    own = model.state_dict()
    if set(own) != set(weights) or any(own[k].shape != v.shape for k, v in weights.items()):
        raise JepaflowError(f"{checkpoint} holds the weights of another model. Use an older checkpoint.")
    model.load_state_dict(weights)
    for parameter, state in states.items():
        optimizer.state[parameter] = state
    return step


def restore_newest(run: Path, model: JEPA, optimizer: torch.optim.Optimizer) -> int:
    """Restore the newest checkpoint that is not damaged and point ``last`` to it; returns its step, 0 for none.

    Raises:
        JepaflowError: when there are checkpoints and all are damaged.
    """
    checkpoints = saved_checkpoints(run)
    for checkpoint in reversed(checkpoints):
        try:
            step = restore(checkpoint, model, optimizer)
        except JepaflowError as error:
            console.print(f"{error} Trying the one before.")
            continue
        _point_last(run / "checkpoints", checkpoint)
        return step
    if checkpoints:
        raise JepaflowError(f"Every checkpoint of {run} is damaged. Train it anew in another folder.")
    return 0


def load_run(run: Path, device: str = "cpu") -> Run:
    """Load the last checkpoint of a run with its split and data path.

    Raises:
        JepaflowError: when the folder is no run or has no whole checkpoint yet.
    """
    run = Path(run)
    if not (run / "config.json").is_file():
        raise JepaflowError(
            f"{run} is not a run folder (it has no config.json). Train one with: jepaflow train --output-dir {run} …"
        )
    checkpoints = saved_checkpoints(run)
    if not checkpoints:
        raise JepaflowError(f"{run} has no checkpoint yet. Let it train until the first save, or resume it.")
    config, split = read_json(run / "config.json"), read_json(run / "split.json")
    stores = config["dataset"]["path"]
    if len(stores) > 1:
        console.print(f"{run} was trained on {len(stores)} stores; it is judged on the first, {stores[0]}.")
    try:
        train, val = list(split["train"][0]), list(split["val"][0])
    except (KeyError, IndexError, TypeError) as error:
        raise JepaflowError(
            f"{run / 'split.json'} names no training and held-out episodes. Train the run anew."
        ) from error
    return Run(
        path=run,
        model=load_model(checkpoints[-1] / "pretrained_model").to(choose_device(device)[0]),
        config=config,
        store_path=Path(stores[0]),
        train_episodes=train,
        val_episodes=val,
        step=int(checkpoints[-1].name),
    )
