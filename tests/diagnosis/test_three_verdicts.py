"""A collapsed model, a blind one and a good one, really trained, get three different verdicts."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from diagnosis_worlds import write_store

from jepaflow.data.split import split_episodes
from jepaflow.diagnosis.advice import advise
from jepaflow.diagnosis.measure import Diagnosis, Options, diagnose_run
from jepaflow.training.config import DatasetConfig, OptimConfig, TrainConfig
from jepaflow.training.objective import ObjectiveConfig
from jepaflow.training.trainer import train
from jepaflow.worldmodel.encoder import EncoderConfig
from jepaflow.worldmodel.jepa import JEPAConfig
from jepaflow.worldmodel.predictor import PredictorConfig
from jepaflow.worldmodel.presets import PRESETS

EPISODES, STEPS, VAL = 60, 120, 0.2
TINY = JEPAConfig(
    image_size=32,
    latent_dim=16,
    projector_hidden=64,
    encoder=EncoderConfig(kind="conv", width=64, channels=(16, 32, 32)),
    predictor=PredictorConfig(depth=1, heads=2, dim_head=16, mlp=64),
)


def shuffle_training_actions(path: Path) -> None:
    """Give every frame of the training episodes another frame's action; held-out episodes stay as they are."""
    chosen = split_episodes(EPISODES, VAL, 0).train
    with h5py.File(path, "r+") as file:
        rows = np.flatnonzero(np.isin(file["episode_idx"][...], chosen))
        actions = file["action"][...]
        actions[rows] = actions[np.random.default_rng(1).permutation(rows)]
        file["action"][...] = actions


def learned(folder: Path, sigreg: float, shuffled: bool = False) -> Diagnosis:
    """Train on a square that its actions push about, and diagnose on held-out episodes whose actions are true."""
    folder.mkdir()
    store = write_store(folder / "square.h5", [60] * EPISODES)
    if shuffled:
        shuffle_training_actions(store)
    config = TrainConfig(
        dataset=DatasetConfig(path=(store,), val_fraction=VAL),
        preset="tiny",
        history=2,
        steps=STEPS,
        loss=ObjectiveConfig(sigreg=sigreg, directions=256),
        optim=OptimConfig(lr=2e-3),
        save_every=STEPS,
        val_every=STEPS,
        log_every=STEPS,
        val_batches=1,
        precision="float32",
        device="cpu",
        compile="off",
    )
    train(config, folder / "run")
    return diagnose_run(folder / "run", options=Options(draws=500, frames=500, skip=("close-up", "probes")))


def test_collapsed_blind_and_good_get_three_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    good = learned(tmp_path / "good", sigreg=0.05)
    blind = learned(tmp_path / "blind", sigreg=0.05, shuffled=True)
    collapsed = learned(tmp_path / "collapsed", sigreg=0.0)

    assert (good.verdict.sight, blind.verdict.sight, collapsed.verdict.sight) == ("sighted", "deaf", "collapsed")
    # Each for its own reason: the blind one sees as many directions as the good one, but not what its actions do …
    assert good.forecast.listening.low > 0.5 and good.spread.value > 0.3
    assert blind.forecast.listening.high < 0.05 and blind.spread.value > 0.3
    assert blind.geometry.effective_rank.value > 3
    # … and the collapsed one has shrunk to a point of many directions, which its rank alone would not tell.
    assert collapsed.spread.value < 0.005 and collapsed.geometry.effective_rank.value > 2
    # Each is told what to do about it first.
    first = [advise(one, (), "runs/a")[0].finding for one in (good, blind, collapsed)]
    assert first[1:] == ["It does not listen to its actions", "The latents have collapsed"]
    assert len(set(first)) == 3
