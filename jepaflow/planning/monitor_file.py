"""A calibrated monitor in its run's folder: `monitor.json` says what it is, `monitor.safetensors` holds its numbers."""

from __future__ import annotations

from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path, read_json, write_json
from jepaflow.planning.monitor import Judge, Monitor
from jepaflow.training.checkpoint import Run
from jepaflow.training.latents import weights_digest

PARTS, LAYERS = ("centre", "whiten", "scale", "units"), ("first", "bias", "last", "offset")


def save_judge(run: Run, judge: Judge, facts: dict[str, Any]) -> None:
    """Write `RUN/monitor.json` and `RUN/monitor.safetensors`; `facts` say what it was calibrated on."""
    tensors = {name: getattr(judge, name) for name in PARTS}
    tensors |= dict(zip(LAYERS, judge.layers)) if judge.layers is not None else {}
    # Whoever is stopped between the two files leaves no monitor, rather than new numbers under an old threshold.
    (run.path / "monitor.json").unlink(missing_ok=True)
    with atomic_path(run.path / "monitor.safetensors") as temporary:
        save_file({name: value.detach().cpu().float().contiguous() for name, value in tensors.items()}, temporary)
    write_json(
        run.path / "monitor.json",
        {**facts, "threshold": judge.threshold, "step": run.step, "weights": weights_digest(run.model)},
    )


def load_judge(run: Run) -> Judge:
    """Load a run's calibrated judge onto its model's device.

    Raises:
        JepaflowError: the run has none, it is damaged, or it was calibrated with other weights.
    """
    path, again = run.path / "monitor.safetensors", f"Calibrate it with: jepaflow monitor {run.path}"
    if not path.is_file() or not (run.path / "monitor.json").is_file():
        raise JepaflowError(f"{run.path} has no calibrated monitor. {again}")
    facts = read_json(run.path / "monitor.json")
    if not isinstance(facts, dict) or facts.get("weights") != weights_digest(run.model):
        raise JepaflowError(f"{run.path / 'monitor.json'} belongs to another checkpoint of the run. {again}")
    try:
        tensors = {name: value.to(run.model.device) for name, value in load_file(path).items()}
        layers = tuple(tensors[name] for name in LAYERS) if "first" in tensors else None
        parts = {name: tensors[name] for name in PARTS}
        return Judge(**parts, layers=layers, threshold=float(facts["threshold"]))  # type: ignore[arg-type]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise JepaflowError(f"{path} is damaged ({str(error) or type(error).__name__}). {again}") from error


def load_monitor(run: Run) -> Monitor:
    """Load a run's monitor, ready to watch.

    Raises:
        JepaflowError: as `load_judge`.
    """
    return Monitor(run.model, load_judge(run), run.model.config.history)


__all__ = ["load_judge", "load_monitor", "save_judge"]
