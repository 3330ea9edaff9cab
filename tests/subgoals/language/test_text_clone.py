"""The text clone: learns what the sentence tells, from episodes that did their task; saved, loaded, resumed, refused."""

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
from jepaflow.common.files import read_json, write_json
from jepaflow.data.store import Store
from jepaflow.subgoals.language.encoders import Hashed
from jepaflow.subgoals.language.text_clone import (
    TextCloneConfig,
    has_text_clone,
    load_text_clone,
    train_text_clone,
)
from jepaflow.subgoals.language.told import told_episodes
from jepaflow.training import fitting
from jepaflow.training.checkpoint import load_run
from jepaflow.training.cloning import parameters
from jepaflow.training.corpus import gather, open_corpora
from tests.training.tiny_run import SIZE, TINY, make_run, make_store

LENGTHS = [13] * 24
TASKS = ("Put the red cube in the red bin.", "Put the blue cube in the red bin.", "Put the red cube in the blue bin.")
"""the last one is a held-out pair"""
CONFIG = TextCloneConfig(encoder="hashed", chunk=3, steps=4, batch_size=8, paraphrases=3, text_dim=8)


@pytest.fixture(autouse=True)
def single() -> None:
    torch.set_num_threads(1)


def store_with_tasks(path: Path, actions: np.ndarray | None = None, tasks: tuple[str, ...] = TASKS) -> Path:
    """Episode e has the task e mod 3."""
    make_store(path, LENGTHS, actions)
    with h5py.File(path, "r+") as file:
        file.attrs["jepaflow"] = json.dumps({**json.loads(file.attrs["jepaflow"]), "tasks": list(tasks)})
        file["task_index"] = np.repeat(np.arange(len(LENGTHS)) % len(tasks), 13)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", store_with_tasks(tmp_path / "s.h5"), list(range(18)), list(range(18, 24)))


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, 1, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("proprio", [0, 2])
def test_it_is_made_saved_loaded_and_acts(tmp_path: Path, proprio: int) -> None:
    store = store_with_tasks(tmp_path / "s.h5")
    run = make_run(tmp_path / "run", store, list(range(18)), list(range(18, 24)), replace(TINY, proprio_dim=proprio))
    with pytest.raises(JepaflowError, match="no text clone yet"):
        load_text_clone(run)
    record = train_text_clone(load_run(run), CONFIG, "x")
    assert record["episodes"] == 12 and record["frames"] == 12 * 13, "a held-out pair was trained on"
    assert has_text_clone(run) and read_json(run / "text_clone.json")["rows"][0]["name"] == "text_clone/error"
    assert not (run / "text_clone.partial").exists() and not list(run.glob(".*.tmp"))
    policy, state = load_text_clone(run), np.zeros((3, 2), np.float32) if proprio else None
    acted = policy(frames(3), state, TASKS[0])
    assert acted.shape == (3, 3, 2) and np.isfinite(acted).all() and not policy.clone.training
    np.testing.assert_array_equal(acted, load_text_clone(run)(frames(3), state, TASKS[0]))
    mixed = policy(frames(3), state, [TASKS[0], TASKS[1], TASKS[0]])
    np.testing.assert_allclose(mixed[[0, 2]], acted[[0, 2]], atol=1e-5)
    assert policy(frames(0), state if state is None else state[:0], TASKS[0]).shape == (0, 3, 2)
    with pytest.raises(JepaflowError, match="1 sentences were given for 3"):
        policy(frames(3), state, ["go"])
    if proprio:
        with pytest.raises(JepaflowError, match="give it the robot's state"):
            policy(frames(3), None, TASKS[0])


def test_the_sentence_decides_the_action(tmp_path: Path) -> None:
    """What is to be done with a frame is said by the sentence alone, in wordings of the training."""
    sign = np.repeat(np.where(np.arange(24) % 3 == 0, 1.0, -1.0), 13)
    actions = (sign[:, None] * [1.0, -0.5] + 0.01 * np.random.default_rng(0).standard_normal((312, 2))).astype(
        np.float32
    )
    run = make_run(tmp_path / "run", store_with_tasks(tmp_path / "s.h5", actions), list(range(18)), list(range(18, 24)))
    train_text_clone(load_run(run), replace(CONFIG, steps=80, batch_size=32, paraphrases=8), "x")
    (row,) = read_json(run / "text_clone.json")["rows"]
    assert row["floors"]["mean"] > 0.5
    policy = load_text_clone(run)
    acted = policy(frames(20, 1), None, TASKS[0]).mean(0)
    np.testing.assert_allclose(acted, np.broadcast_to([1.0, -0.5], (3, 2)), atol=0.3)
    acted = policy(frames(20, 1), None, "the blue cube goes in the red bin").mean(0)
    np.testing.assert_allclose(acted, np.broadcast_to([-1.0, 0.5], (3, 2)), atol=0.3)


def test_relative_answers_start_where_the_joints_are(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run",
        store_with_tasks(tmp_path / "s.h5"),
        list(range(18)),
        list(range(18, 24)),
        replace(TINY, proprio_dim=2),
    )
    train_text_clone(load_run(run), CONFIG, "x")
    clone = load_text_clone(run).clone
    plan, state = torch.randn(4, 3, 2), torch.randn(4, 2)
    for relative in (False, True):
        clone.relative = relative
        torch.testing.assert_close(clone.actions(clone.wanted(plan, state), state), plan, atol=1e-4, rtol=1e-4)


def test_as_large_as_the_world_model() -> None:
    from jepaflow.subgoals.language.text_clone import TextClone, _equal_width
    from jepaflow.worldmodel.jepa import JEPA
    from jepaflow.worldmodel.presets import preset

    config = preset("nano", proprio_dim=6, action_dim=6, cameras=("pixels", "phone"))
    shape = (384, 128, 10)
    with torch.device("meta"):
        clone = TextClone(config, *shape, _equal_width(config, shape, True), True)
        assert 0.98 < parameters(clone) / parameters(JEPA(config)) < 1.02
        assert len(clone.films) == len(config.encoder.channels) + config.encoder.blocks


def test_an_interrupted_training_ends_the_same(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, save_seconds=0.0)
    train_text_clone(load_run(run), config, "x")
    whole = load_file(run / "text_clone.safetensors")
    save = fitting._save

    def stop(path: Path, about: str, step: int, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        save(path, about, step, module, optimizer)
        if step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "_save", stop)
    (run / "text_clone.safetensors").unlink()
    with pytest.raises(KeyboardInterrupt):
        train_text_clone(load_run(run), config, "x")
    assert (run / "text_clone.partial").is_file() and not has_text_clone(run)
    monkeypatch.setattr(fitting, "_save", save)
    train_text_clone(load_run(run), config, "x")
    again = load_file(run / "text_clone.safetensors")
    assert all(torch.equal(value, whole[key]) for key, value in again.items())


def test_only_episodes_that_did_their_task(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = np.arange(24) % 2 == 0
    monkeypatch.setattr("jepaflow.subgoals.language.told.done_episodes", lambda store: done)
    train, val = open_corpora(load_run(run))
    told = told_episodes(train, Hashed(), 4, False, 0)
    assert set(train.episode[told.rows]) == set(np.flatnonzero(done[:18])) and told.sentences.shape == (3, 4)
    told = told_episodes(train, Hashed(), 4, True, 0)
    assert set(train.episode[told.rows]) == {e for e in np.flatnonzero(done[:18]) if e % 3 != 2}
    none = told_episodes(gather(train.stores, [], False), Hashed(), 2, True, 0)
    assert none.episodes == 0 and len(none.rows) == 0
    assert len(val.length) == 6


def test_a_sentence_that_says_nothing_stands_for_itself(tmp_path: Path) -> None:
    store = Store(store_with_tasks(tmp_path / "s.h5", tasks=("make coffee", "Sort the cubes by colour.")))
    told = told_episodes(gather([store], [(0, 0), (0, 1)], False), Hashed(), 6, True, 0)
    assert len(set(told.sentences[0].tolist())) == 1 and len(set(told.sentences[1].tolist())) > 2
    rng = np.random.default_rng(0)
    assert set(told.draw(np.zeros(50, np.int64), rng)) == {0}


def test_the_command_and_sentences(run: Path, tmp_path: Path) -> None:
    words = [
        "language",
        "clone",
        str(run),
        "--encoder",
        "hashed",
        "--steps",
        "2",
        "--batch-size",
        "4",
        "--text-dim",
        "8",
    ]
    assert main([*words, "--paraphrases", "2", "--json", str(tmp_path / "c.json")]) == 0
    assert [row["name"] for row in read_json(tmp_path / "c.json")["rows"]] == ["text_clone/error"]
    (run / "text_clone.safetensors").write_bytes(b"damaged")
    with pytest.raises(JepaflowError, match="is damaged"):
        load_text_clone(run)
    with pytest.raises(JepaflowError, match="at least 1"):
        TextCloneConfig(chunk=0)
    split = read_json(run / "split.json")
    write_json(run / "split.json", {**split, "train": [[2]]})
    write_json(run / "data.json", [{"train": [Store(tmp_path / "s.h5").fingerprint(2)]}])
    with pytest.raises(JepaflowError, match="No training episode did a task sentence"):
        train_text_clone(load_run(run), CONFIG, "x")
