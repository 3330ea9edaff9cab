"""Training: deaths do not change it, bad numbers stop it before they do harm, and it learns what can be learnt."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jepaflow.common.errors import JepaflowError
from jepaflow.training.checkpoint import load_run, save_checkpoint, saved_checkpoints
from jepaflow.training.config import DatasetConfig, OptimConfig, TrainConfig
from jepaflow.training.log import read_log
from jepaflow.training.objective import ObjectiveConfig
from jepaflow.training.trainer import Trainer, learning_rate, train
from tests.stores import write_store
from tests.training.kill_chain import config as chain_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "s.h5", [24, 30, 26, 40])


def quick(store: Path, **changes: object) -> TrainConfig:
    values = {
        "dataset": DatasetConfig(path=(store,), val_fraction=0.25),
        "steps": 3,
        "batch_size": 4,
        "log_every": 1,
        "val_every": 3,
        "val_batches": 1,
    }
    return TrainConfig(**{**values, "device": "cpu", **changes})  # type: ignore[arg-type]


def test_twenty_kills_change_nothing(store: Path, tmp_path: Path) -> None:
    """SIGKILL at 20 random moments: losses and final weights equal the uninterrupted run's, bit by bit."""
    whole = subprocess.run(
        [sys.executable, "-m", "tests.training.kill_chain", str(store), str(tmp_path / "whole"), "0", "0"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert whole.stdout.split() == ["0"], whole.stderr
    killed = subprocess.run(
        [sys.executable, "-m", "tests.training.kill_chain", str(store), str(tmp_path / "killed"), "20", "7"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    *moments, code = map(int, killed.stdout.split())
    assert code == 0 and len(moments) == 20, killed.stderr
    last = chain_config(store).steps
    assert sum(0 < step < last for step in moments) >= 18 and len(set(moments)) >= 12, moments
    timing = ("frames_per_s", "waiting_for_data")
    logs = [
        [{k: v for k, v in row.items() if k not in timing} for row in read_log(tmp_path / name)]
        for name in ("whole", "killed")
    ]
    assert [row["step"] for row in logs[1]] == list(range(1, chain_config(store).steps + 1))
    assert logs[0] == logs[1]
    one, two = (
        load_file(tmp_path / name / "checkpoints/last/pretrained_model/model.safetensors")
        for name in ("whole", "killed")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert len(saved_checkpoints(tmp_path / "killed")) == 2


def test_a_run_is_complete_and_loads(store: Path, tmp_path: Path) -> None:
    trainer = train(quick(store), tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.step == 3 and run.store_path == store.resolve() and not run.model.training
    assert sorted(run.train_episodes + run.val_episodes) == [0, 1, 2, 3]
    for key, value in trainer.model.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[key])
    rows = read_log(tmp_path / "run")
    assert {
        "loss/prediction",
        "loss/sigreg",
        "frames_per_s",
        "waiting_for_data",
        "val/skill",
        "val/effective_rank",
    } <= set(rows[-1])
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    assert os.readlink(tmp_path / "run/checkpoints/last") == "000003"
    (record,) = json.loads((tmp_path / "run/data.json").read_text())
    assert record["fps"] == 10.0 and len(set(record["train"])) == 3
    (tmp_path / "run/split.json").write_text("{}")
    with pytest.raises(JepaflowError, match="names no training"):
        load_run(tmp_path / "run")


def test_a_run_is_not_overwritten_and_not_resumed_as_another(store: Path, tmp_path: Path) -> None:
    train(quick(store, steps=2), tmp_path / "run")
    with pytest.raises(JepaflowError, match="--resume"):
        train(quick(store), tmp_path / "run")
    with pytest.raises(JepaflowError, match="--seed differs"):
        train(TrainConfig(seed=5), tmp_path / "run", resume=True)
    with pytest.raises(JepaflowError, match=r"--loss\.sigreg differs"):
        train(TrainConfig(loss=ObjectiveConfig(sigreg=1.0)), tmp_path / "run", resume=True)
    slower = train(TrainConfig(optim=OptimConfig(lr=1e-5)), tmp_path / "run", resume=True)
    assert slower.step == 2 and slower.config.optim.lr == 1e-5 and slower.config.batch_size == 4


def test_a_damaged_checkpoint_gives_way_to_the_one_before(store: Path, tmp_path: Path) -> None:
    train(quick(store, steps=4, save_every=1), tmp_path / "run")
    newest = tmp_path / "run/checkpoints/000004"
    state = newest / "training_state/optimizer_state.safetensors"
    state.write_bytes(state.read_bytes()[:500])
    assert Trainer(quick(store, steps=4), tmp_path / "run").resume() == 3
    assert os.readlink(tmp_path / "run/checkpoints/last") == "000003"


def test_a_kill_between_link_and_rename_is_survived(store: Path, tmp_path: Path) -> None:
    """The process died after making the new ``last`` under its temporary name: the next save clears it away."""
    trainer = train(quick(store, steps=2, save_every=1), tmp_path / "run")
    (tmp_path / "run/checkpoints/.last.77.tmp").symlink_to("000002")
    (tmp_path / "run/checkpoints/.000009.77.tmp").mkdir()
    trainer.save()
    names = sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir())
    assert names == ["000001", "000002", "last"]


@pytest.mark.parametrize(
    "changes,config,message",
    [
        ({"action_dim": 0}, {}, "has no actions"),
        ({"action_dim": 3}, {}, "actions of another size"),
        ({"size": 32}, {}, "frames of another size"),
    ],
)
def test_stores_that_do_not_suit_are_refused_in_words(
    store: Path, tmp_path: Path, changes: dict[str, int], config: dict[str, object], message: str
) -> None:
    other = write_store(tmp_path / "o.h5", [30], **changes)  # type: ignore[arg-type]
    with pytest.raises(JepaflowError, match=message):
        Trainer(quick(store, dataset=DatasetConfig(path=(store, other))), tmp_path / "run")


def test_states_that_are_missing_are_named(tmp_path: Path) -> None:
    path = write_store(tmp_path / "s.h5", [30, 30])
    with h5py.File(path, "r+") as file:
        del file["proprio"]
    with pytest.raises(JepaflowError, match=r"no observation\.state"):
        Trainer(quick(path, proprio=True), tmp_path / "run")


def test_nan_actions_are_refused_by_name(store: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "nan.h5"
    damaged.write_bytes(store.read_bytes())
    with h5py.File(damaged, "r+") as file:
        file["action"][30, 0] = np.inf
    with pytest.raises(JepaflowError, match="action is not finite in episode 101, frame 6"):
        train(quick(damaged, dataset=DatasetConfig(path=(damaged,), val_fraction=0.0)), tmp_path / "run")


def test_a_loss_that_is_not_finite_changes_no_weight(store: Path, tmp_path: Path) -> None:
    trainer = Trainer(quick(store), tmp_path / "run")
    with torch.no_grad():
        trainer.model.pred_proj[0].weight[0, 0] = float("nan")
    before = {k: v.clone() for k, v in trainer.model.named_parameters()}
    with pytest.raises(JepaflowError, match=r"loss of step 0 is not finite.*s\.h5, episode 10\d, frames"):
        trainer.fit()
    assert all(torch.equal(v.nan_to_num(), before[k].nan_to_num()) for k, v in trainer.model.named_parameters())
    assert not saved_checkpoints(tmp_path / "run")


def test_a_gradient_that_is_not_finite_changes_no_weight(store: Path, tmp_path: Path) -> None:
    trainer = Trainer(quick(store), tmp_path / "run")
    trainer.model.pred_proj[3].bias.register_hook(lambda grad: grad * float("inf"))
    before = {k: v.clone() for k, v in trainer.model.named_parameters()}
    with pytest.raises(JepaflowError, match="gradient of step 0 is not finite"):
        trainer.fit()
    assert all(torch.equal(v, before[k]) for k, v in trainer.model.named_parameters())


def test_checkpoints_are_whole_or_absent(store: Path, tmp_path: Path) -> None:
    trainer = train(quick(store, steps=4, save_every=1), tmp_path / "run")
    folders = saved_checkpoints(tmp_path / "run")
    assert [f.name for f in folders] == ["000003", "000004"]
    (tmp_path / "run/checkpoints/.000009.1.tmp").mkdir()
    (tmp_path / "run/checkpoints/000009").mkdir()  # a folder without its step file does not count
    assert load_run(tmp_path / "run").step == 4
    weights = folders[-1] / "pretrained_model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(JepaflowError, match="damaged"):
        load_run(tmp_path / "run")
    with pytest.raises(JepaflowError, match="at least 2"):
        save_checkpoint(tmp_path, 1, trainer.model, trainer.optimizer, keep=1)


def test_no_pickle_is_loaded(store: Path, tmp_path: Path) -> None:
    """A checkpoint replaced by a malicious pickle is refused, and its payload does not run."""
    train(quick(store, steps=1), tmp_path / "run")
    trap = tmp_path / "trap"
    payload = b"cposix\nsystem\n(S'touch " + str(trap).encode() + b"'\ntR."
    (tmp_path / "run/checkpoints/last/pretrained_model/model.safetensors").write_bytes(payload)
    with pytest.raises(JepaflowError, match="damaged"):
        load_run(tmp_path / "run")
    assert not trap.exists()


def test_bad_settings_are_sentences(store: Path, tmp_path: Path) -> None:
    for bad in (
        {"steps": 0},
        {"batch_size": 1},
        {"keep": 1},
        {"precision": "int8"},
        {"device": "tpu"},
        {"compile": "yes"},
    ):
        with pytest.raises(JepaflowError):
            quick(store, **bad)
    with pytest.raises(JepaflowError, match="Convert with --image-size 96"):
        Trainer(quick(store, preset="small"), tmp_path)
    with pytest.raises(JepaflowError, match="fewer than one batch"):
        Trainer(quick(store, batch_size=1000), tmp_path)
    with pytest.raises(JepaflowError, match=r"dataset\.path"):
        Trainer(TrainConfig(), tmp_path)
    with pytest.raises(JepaflowError, match="not a run folder"):
        load_run(tmp_path)


def test_a_run_stopped_by_the_clock_goes_on_as_if_never_stopped(store: Path, tmp_path: Path) -> None:
    config = quick(store, steps=4, save_every=4, val_every=4)
    whole = train(config, tmp_path / "whole")
    for step in (1, 2, 3, 4):
        stopped = train(config, tmp_path / "stopped", resume=True, minutes=1e-9)
        assert stopped.step == step == int(saved_checkpoints(tmp_path / "stopped")[-1].name)
    other = stopped.model.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in whole.model.state_dict().items())
    assert [row["step"] for row in read_log(tmp_path / "stopped")] == [1, 2, 3, 4]
    with pytest.raises(JepaflowError, match="--minutes is 0"):
        train(config, tmp_path / "stopped", resume=True, minutes=0.0)


def test_learning_rate_warms_up_and_falls() -> None:
    config = TrainConfig(steps=100, optim=OptimConfig(lr=1.0, warmup=0.1))
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0) and max(rates) == pytest.approx(1.0)
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False)) and rates[-1] < 0.001
    assert json.loads(json.dumps(rates)) == rates
