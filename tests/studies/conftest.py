"""A preset so small that a cell costs nothing, and a store that it can be trained on."""

from pathlib import Path

import pytest

from jepaflow.training.config import DatasetConfig, TrainConfig
from jepaflow.worldmodel.presets import PRESETS
from tests.training.tiny_run import TINY, make_store


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "tiny", TINY)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine episodes of 26 to 34 frames."""
    return make_store(tmp_path_factory.mktemp("study") / "s.h5", [26, 34, 30, 28, 32, 27, 33, 29, 31])


@pytest.fixture
def config(store: Path) -> TrainConfig:
    """Two steps of four windows; three episodes held out."""
    return TrainConfig(
        DatasetConfig((store,), val_fraction=0.34), preset="tiny", block=2, steps=2, batch_size=4,
        save_every=2, val_every=2, val_batches=1, calibration_batches=1, device="cpu",
    )  # fmt: skip
