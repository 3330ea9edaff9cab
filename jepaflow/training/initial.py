"""Beginning from another run: its weights, and its scalers, so that an action goes on meaning what it meant.

The optimizer starts anew, with its warm-up. What the other run was trained on is remembered in ``data.json``, behind the
stores' own records: episodes that it saw can never count as held out, neither now (they are refused) nor when the new run
is judged on another store. A run that was killed before its first checkpoint begins again from the very same weights or
not at all.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.training.checkpoint import load_model, saved_checkpoints
from jepaflow.training.latents import weights_digest
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig

HEADS = ("inverse", "grounding", "colours")
"""parts of the model that only the training uses: where the other run had none, they begin at random"""


def begin_from(
    model: JEPA, source: Path, held_out: Sequence[str], before: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Put the weights, scalers and statistics of a run's newest checkpoint into ``model``.

    Args:
        model: of the same configuration.
        source: the run's folder.
        held_out: fingerprints of the episodes that will judge the new run.
        before: what an earlier beginning of the same run returned.

    Returns:
        What must be remembered: which weights these are, and the fingerprints of what they were trained on.

    Raises:
        JepaflowError: when there are no weights, they are another model's, were trained on a held-out episode, or are not
            those that the run began with before.
    """
    checkpoints = saved_checkpoints(source)
    if not checkpoints:
        raise JepaflowError(f"--init {source} is no run with a checkpoint. Name the folder of a run that has trained.")
    other = load_model(checkpoints[-1] / "pretrained_model")
    if different := _differences(model.config, other.config):
        raise JepaflowError(
            f"--init {source} holds another model: {'; '.join(different)}. Give the flags that it was trained with, or "
            "leave --init out."
        )
    weights = weights_digest(other)
    if before and before[0]["weights"] != weights:
        raise JepaflowError(
            f"The weights of --init {source} have changed since this run began from them. Train a new run, in another "
            "--output-dir."
        )
    trained = _trained_on(source)
    if seen := set(held_out) & set(trained):
        raise JepaflowError(
            f"{len(seen)} held-out episodes were trained on by --init {source}, so they could not judge the new run. "
            "Split as it did: the same stores first, --dataset.split-seed and --dataset.val-fraction."
        )
    fresh = tuple(f"{name}." for name in HEADS if getattr(model.config, name) and not getattr(other.config, name))
    missing, unknown = model.load_state_dict(other.state_dict(), strict=False)
    assert not unknown and all(key.startswith(fresh) for key in missing), (missing, unknown)
    step = int(checkpoints[-1].name)
    console.print(f"Begins from {source}, step {step}, with its scalers.")
    return {"init": str(source.resolve()), "step": step, "weights": weights, "train": trained}


def inherited(run: Path) -> list[dict[str, Any]]:
    """What ``data.json`` of a run remembers of the weights that it began from: one entry, or none."""
    record = run / "data.json"
    return [entry for entry in read_json(record) if "init" in entry] if record.is_file() else []


def _trained_on(source: Path) -> list[str]:
    """Fingerprints of all episodes that a run, and those that it began from, were trained on."""
    record = source / "data.json"
    if not record.is_file():
        console.print(
            f"{source} does not record what it was trained on: make sure that no held-out episode is among it."
        )
        return []
    return sorted({mark for entry in read_json(record) for mark in entry["train"]})


def _differences(mine: JEPAConfig, other: JEPAConfig) -> list[str]:
    """Each entry that differs, in words."""
    here, there = asdict(mine), asdict(other)
    new = {name for name in HEADS if not there[name]}
    return [
        f"its {name} is {there[name]}, this run's {here[name]}"
        for name in here
        if name not in new and here[name] != there[name]
    ]
