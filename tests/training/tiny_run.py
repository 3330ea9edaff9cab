"""A run folder with a model so small that encoding costs nothing, and stores whose actions are given."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch

from jepaflow.common.files import write_json
from jepaflow.data.store import Store
from jepaflow.training.checkpoint import save_checkpoint
from jepaflow.worldmodel.encoder import EncoderConfig
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig
from jepaflow.worldmodel.predictor import PredictorConfig
from tests.stores import write_store

SIZE = 8
TINY = JEPAConfig(
    image_size=SIZE,
    block=2,
    latent_dim=6,
    projector_hidden=8,
    encoder=EncoderConfig(width=8, channels=(4,), blocks=1),
    predictor=PredictorConfig(depth=1, heads=1, dim_head=4, mlp=8),
)


def make_store(path: Path, lengths: list[int], actions: np.ndarray | None = None, seed: int = 0) -> Path:
    """A store of tiny frames; with these actions, or random ones."""
    write_store(path, lengths, size=SIZE, action_dim=2 if actions is None else actions.shape[1], seed=seed)
    if actions is not None:
        with h5py.File(path, "r+") as file:
            file["action"][:] = actions
    return path


def make_run(
    folder: Path, store: Path, train: list[int], val: list[int], config: JEPAConfig = TINY, step: int = 7
) -> Path:
    """A run with one checkpoint of a random model."""
    opened = Store(store)
    torch.manual_seed(3)
    model = JEPA(replace(config, action_dim=max(1, opened.dim("action"))))
    save_checkpoint(folder, step, model, torch.optim.AdamW(model.parameters()))
    write_json(folder / "split.json", {"train": [train], "val": [val]})
    write_json(folder / "data.json", [{"train": [opened.fingerprint(e) for e in train]}])
    saved = {
        "dataset": {"path": [str(store)]},
        "steps": 6,
        "batch_size": 4,
        "history": config.history,
        "loss": {"rollout": 0.0, "rollout_steps": 1},
        "optim": {"lr": 5e-3, "weight_decay": 1e-3, "clip": 1.0},
        "precision": "float32",
    }
    write_json(folder / "config.json", saved)
    return folder
