"""Run folders for the diagnosis tests: a small real model on a small real store, untrained, and rows of topics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray

from jepaflow.diagnosis.forecast import ForecastErrors
from jepaflow.training.checkpoint import save_checkpoint
from jepaflow.worldmodel.encoder import EncoderConfig
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig
from jepaflow.worldmodel.predictor import PredictorConfig

LENGTHS = [40, 34, 21, 45, 38, 30]
VAL = [1, 3, 4]
QUICK = ("close-up", "probes")


def make_run(folder: Path, store: Path, seed: int = 0, val: list[int] = VAL, **changes: object) -> Path:
    """A run folder with an untrained model: enough to measure, and surely not sighted."""
    torch.manual_seed(seed)
    encoder = EncoderConfig(kind="conv", width=16, channels=(4, 8))
    config = JEPAConfig(
        **{
            "image_size": 32,
            "action_dim": 2,
            "block": 2,
            "history": 2,
            "latent_dim": 8,
            "projector_hidden": 16,
            "encoder": encoder,
            "predictor": PredictorConfig(depth=1, heads=2, dim_head=8, mlp=16),
            **changes,
        }  # type: ignore[arg-type]
    )
    model = JEPA(config)
    save_checkpoint(folder, 7, model, torch.optim.AdamW(model.parameters()))
    train = [e for e in range(len(LENGTHS)) if e not in val]
    (folder / "config.json").write_text(json.dumps({"dataset": {"path": [str(store)]}, "seed": seed}))
    (folder / "split.json").write_text(json.dumps({"train": [train], "val": [val]}))
    return folder


def errors_of(model: ndarray, copy: ndarray) -> ForecastErrors:
    """Errors of episodes 0 … E-1 by hand, ``[E, N]`` each; another episode's actions serve as well."""
    ones = np.ones_like(copy)
    return ForecastErrors(tuple(range(len(copy))), model, copy, ones, model, model, copy, ones)
