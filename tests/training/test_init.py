"""Beginning from another run: the same weights and scalers, the same exactness, and no episode judged that was learnt."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jepaflow.common.errors import JepaflowError
from jepaflow.diagnosis.heldout import held_out
from jepaflow.training import trainer as module
from jepaflow.training.checkpoint import load_run
from jepaflow.training.config import DatasetConfig
from jepaflow.training.objective import ObjectiveConfig
from jepaflow.training.trainer import Trainer, train
from tests.stores import write_store
from tests.training.test_trainer import quick


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("stores")
    return write_store(folder / "a.h5", [24, 30, 26, 40]), write_store(folder / "b.h5", [30, 30, 30], seed=5)


@pytest.fixture(scope="module")
def first(stores: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    train(quick(stores[0], steps=2), folder)
    return folder


def mixed(stores: tuple[Path, Path], **changes: object) -> DatasetConfig:
    return DatasetConfig(**{"path": stores, "val_fraction": 0.25, **changes})  # type: ignore[arg-type]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints/last/pretrained_model/model.safetensors")


def test_a_run_begins_with_the_weights_and_scalers_of_another(stores: tuple[Path, Path], first: Path) -> None:
    trainer = Trainer(quick(stores[0], dataset=mixed(stores), seed=3, init=first), first.parent / "begun")
    own = trainer.model.action_scaler.mean.clone()
    (entry,) = trainer.begin([])
    learnt = weights(first)
    assert all(torch.equal(value, learnt[name]) for name, value in trainer.model.state_dict().items())
    assert not torch.equal(own, trainer.model.action_scaler.mean)  # the mixed data's would have been others
    assert entry["step"] == 2 and len(entry["train"]) == 3
    assert Trainer(quick(stores[0]), first.parent / "none").begin([]) == []


def test_the_scalers_stay_and_the_beginning_is_saved(stores: tuple[Path, Path], first: Path, tmp_path: Path) -> None:
    train(quick(stores[0], dataset=mixed(stores), init=first), tmp_path / "second")
    after, before = weights(tmp_path / "second"), weights(first)
    assert torch.equal(after["action_scaler.mean"], before["action_scaler.mean"])
    assert not torch.equal(after["projector.0.weight"], before["projector.0.weight"])
    assert json.loads((tmp_path / "second/config.json").read_text())["init"] == str(first.resolve())
    records = json.loads((tmp_path / "second/data.json").read_text())
    assert len(records) == 3 and records[2]["init"] == str(first.resolve())
    train(quick(stores[0], dataset=mixed(stores), init=tmp_path / "second"), tmp_path / "third")
    grand = json.loads((tmp_path / "third/data.json").read_text())
    assert set(grand[2]["train"]) == set(records[0]["train"] + records[1]["train"])


def test_a_head_that_the_other_run_lacked_begins_at_random(stores: tuple[Path, Path], first: Path) -> None:
    config = quick(stores[0], dataset=mixed(stores), init=first, loss=ObjectiveConfig(colour=0.5))
    trainer = Trainer(config, first.parent / "coloured")
    own = {name: value.clone() for name, value in trainer.model.colours.state_dict().items()}
    trainer.begin([])
    learnt = weights(first)
    assert all(torch.equal(value, learnt[name]) for name, value in trainer.model.state_dict().items() if name in learnt)
    assert all(torch.equal(value, own[name]) for name, value in trainer.model.colours.state_dict().items())
    trainer.fit()
    plain = Trainer(quick(stores[0], dataset=mixed(stores), init=first.parent / "coloured"), first.parent / "plain")
    with pytest.raises(JepaflowError, match="its colours is 14, this run's 0"):
        plain.begin([])


def test_an_interrupted_run_ends_as_the_uninterrupted_one(
    stores: tuple[Path, Path], first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    shutil.copytree(first, source, symlinks=True)
    config = quick(stores[0], dataset=mixed(stores), steps=4, save_every=2, init=source)
    train(config, tmp_path / "whole")
    real = Trainer._update

    def dies_at(step: int) -> None:
        def update(self: Trainer, now: int, window: object) -> object:
            if now == step:
                raise KeyboardInterrupt
            return real(self, now, window)  # type: ignore[arg-type]

        monkeypatch.setattr(module.Trainer, "_update", update)

    dies_at(1)  # before the first checkpoint: begins again from the same weights
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "halves")
    dies_at(3)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "halves", resume=True)
    monkeypatch.undo()
    shutil.rmtree(source)  # from the first checkpoint on it is not needed any more
    train(config, tmp_path / "halves", resume=True)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert all(torch.equal(one[name], two[name]) for name in one)
    read = [json.loads((tmp_path / name / "data.json").read_text()) for name in ("whole", "halves")]
    assert read[0] == read[1]


def test_other_weights_than_at_first_are_refused(
    stores: tuple[Path, Path], first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    shutil.copytree(first, source, symlinks=True)
    config = quick(stores[0], init=source)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", lambda self: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run")
    shutil.rmtree(source)
    train(quick(stores[0], steps=1, seed=9), source)
    with pytest.raises(JepaflowError, match="have changed since this run began"):
        train(config, tmp_path / "run", resume=True)


def test_what_does_not_fit_is_said_in_a_sentence(stores: tuple[Path, Path], first: Path, tmp_path: Path) -> None:
    with pytest.raises(JepaflowError, match="no run with a checkpoint"):
        train(quick(stores[0], init=tmp_path / "nothing"), tmp_path / "run")
    with pytest.raises(JepaflowError, match=r"another model: its history is 3, this run's 2; its latent_dim is"):
        train(quick(stores[0], init=first, history=2, latent_dim=32), tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
    train(quick(stores[0], steps=1), tmp_path / "plain")
    with pytest.raises(JepaflowError, match="--init differs"):
        train(quick(stores[0], steps=1, init=first), tmp_path / "plain", resume=True)


def test_episodes_that_the_other_run_learnt_never_count_as_held_out(
    stores: tuple[Path, Path], first: Path, tmp_path: Path
) -> None:
    other = next(s for s in range(1, 9) if load_split(stores[0], s) != load_split(stores[0], 0))
    with pytest.raises(JepaflowError, match=r"1 held-out episodes were trained on .*split-seed"):
        train(quick(stores[0], dataset=mixed(stores[:1], split_seed=other), init=first), tmp_path / "run")
    train(quick(stores[1], dataset=mixed(stores[1:]), init=first, steps=1), tmp_path / "new")
    judged = held_out(load_run(tmp_path / "new"), stores[0])  # a store that the new run itself never saw
    assert judged.episodes == load_split(stores[0], 0)


def load_split(store: Path, seed: int) -> tuple[int, ...]:
    """Return the held-out episodes of a split."""
    from jepaflow.data.split import split_episodes
    from jepaflow.data.store import Store

    return split_episodes(Store(store).num_episodes, 0.25, seed).val
