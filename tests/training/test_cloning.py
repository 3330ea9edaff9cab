"""Behaviour cloning: as large as the world model, learns what the goal tells, goes on where it was stopped."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jepaflow.cli.main import main
from jepaflow.common.errors import JepaflowError
from jepaflow.training import fitting, head_metrics
from jepaflow.training.checkpoint import load_run
from jepaflow.training.cloning import Clone, CloneConfig, equal_width, load_clone, parameters, train_clone
from jepaflow.worldmodel.inverse import InverseConfig
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig
from jepaflow.worldmodel.presets import preset
from tests.training.tiny_run import SIZE, TINY, make_run, make_store

LENGTHS = [20, 24, 18, 30, 22]


@pytest.fixture(autouse=True)
def small_and_single(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(head_metrics, "PAIRS", 800)
    monkeypatch.setattr(head_metrics, "DRAWS", 20)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", make_store(tmp_path / "s.h5", LENGTHS), [0, 1, 3], [2, 4])


@pytest.mark.parametrize(
    "config", [preset("nano"), preset("nano", proprio_dim=6, cameras=("pixels", "phone")), preset("paper")]
)
def test_both_are_equally_large(config: JEPAConfig) -> None:
    width = equal_width(config, 20, True)
    with torch.device("meta"):
        sizes = InverseConfig(config.latent_dim, config.action_dim, config.block, horizon=1, change=True, hidden=width)
        ratio = parameters(Clone(config, sizes)) / parameters(JEPA(config))
    assert 0.995 < ratio < 1.005


@pytest.mark.parametrize("proprio", [0, 2])
@pytest.mark.parametrize("actions", ["raw", "change"])
def test_it_is_made_saved_loaded_and_acts(tmp_path: Path, proprio: int, actions: str) -> None:
    store = make_store(tmp_path / "s.h5", LENGTHS)
    run = make_run(tmp_path / "run", store, [0, 1, 3], [2, 4], replace(TINY, proprio_dim=proprio))
    record = train_clone(load_run(run), CloneConfig(actions=actions), "jepaflow heads run --clone")
    assert record["training"]["steps"] == 6 and record["training"]["batch_size"] == 4 * 4 // 2
    assert {row["name"] for row in record["rows"]} >= {"clone/error", "clone/error@1"}
    clone, pixels = load_clone(run), torch.randint(0, 255, (3, 1, SIZE, SIZE, 3), dtype=torch.uint8)
    state = torch.randn(3, 2) if proprio else None
    acted = [load_clone(run).act(pixels, state, pixels.flip(0), state, torch.zeros(3, 2)) for _ in range(2)]
    assert acted[0].shape == (3, 2, 2) and torch.equal(acted[0], acted[1]) and not clone.training
    assert not (run / "clone.partial").exists() and not list(run.glob(".*.tmp"))


def test_the_goal_decides_the_action(tmp_path: Path) -> None:
    """Brightness rises or falls with the action, so the goal's picture tells which it was."""
    rng, lengths = np.random.default_rng(0), [13] * 60
    sign = rng.choice([-1.0, 1.0], 60)
    actions = np.repeat(sign, 13)[:, None] * np.array([[1.0, -0.5]]) + 0.01 * rng.standard_normal((780, 2))
    store = make_store(tmp_path / "s.h5", lengths, actions.astype(np.float32))
    brightness = 128 + 9 * np.repeat(sign, 13) * np.tile(np.arange(13), 60)
    with h5py.File(store, "r+") as file:
        file["pixels"][:] = brightness[:, None, None, None].astype(np.uint8) * np.ones((1, SIZE, SIZE, 3), np.uint8)
    run = make_run(tmp_path / "run", store, list(range(50)), list(range(50, 60)))
    record = train_clone(load_run(run), CloneConfig(steps=120, batch_size=32, reach=4), "x")
    (row,) = [row for row in record["rows"] if row["name"] == "clone/error"]
    assert row["value"] < 0.1 and row["floors"]["other_goal"] > 0.5 and row["floors"]["mean"] > 0.9
    frames = torch.full((2, 1, SIZE, SIZE, 3), 128, dtype=torch.uint8)
    goal = torch.stack([frames[0] + 30, frames[0] - 30])
    acted = load_clone(run).act(frames, None, goal, None)
    torch.testing.assert_close(acted[0], torch.tensor([[1.0, -0.5]]).expand(2, 2), atol=0.25, rtol=0)
    torch.testing.assert_close(acted[1], torch.tensor([[-1.0, 0.5]]).expand(2, 2), atol=0.25, rtol=0)


def test_an_interrupted_training_ends_the_same(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CloneConfig(save_seconds=0.0)
    train_clone(load_run(run), config, "x")
    whole = load_file(run / "clone.safetensors")
    save, seen = fitting._save, []

    def stop(path: Path, about: str, step: int, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        save(path, about, step, module, optimizer)
        seen.append(step)
        if step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "_save", stop)
    (run / "clone.safetensors").unlink()
    with pytest.raises(KeyboardInterrupt):
        train_clone(load_run(run), config, "x")
    assert (run / "clone.partial").is_file() and not (run / "clone.safetensors").exists()
    train_clone(load_run(run), config, "x")
    assert seen == [1, 2, 3, 4, 5, 6]
    assert all(torch.equal(value, whole[key]) for key, value in load_file(run / "clone.safetensors").items())


def test_another_or_a_damaged_partial_is_not_continued(run: Path) -> None:
    train_clone(load_run(run), CloneConfig(), "x")
    whole = load_file(run / "clone.safetensors")
    (run / "clone.partial").write_bytes(b"damaged")
    train_clone(load_run(run), CloneConfig(), "x")
    assert all(torch.equal(value, whole[key]) for key, value in load_file(run / "clone.safetensors").items())


def test_the_command_and_sentences(run: Path, tmp_path: Path) -> None:
    with pytest.raises(JepaflowError, match="no behaviour clone yet"):
        load_clone(run)
    words = ["heads", str(run), "--clone", "--clone-steps", "2", "--reach", "3", "--device", "cpu"]
    assert main([*words, "--json", str(tmp_path / "c.json")]) == 0
    rows = json.loads((tmp_path / "c.json").read_text())["rows"]
    assert "run/clone/error" in {row["name"] for row in rows}
    (run / "clone.safetensors").write_bytes(b"damaged")
    with pytest.raises(JepaflowError, match="is damaged"):
        load_clone(run)
    with pytest.raises(JepaflowError, match="auto, raw or change"):
        CloneConfig(actions="none")
