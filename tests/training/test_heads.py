"""Heads on a frozen latent: exact in worlds where the answer is known, honest about splits, whole on disk."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jepaflow.cli.main import main
from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.training import head_metrics, heads
from jepaflow.training.checkpoint import load_run, save_checkpoint
from jepaflow.training.corpus import gather, hindsight, open_corpora
from jepaflow.training.head_metrics import auc, distance_figures, inverse_figures, spearman
from jepaflow.training.heads import (
    HeadsConfig,
    answers_with_changes,
    load_heads,
    train_distance,
    train_heads,
    train_inverse,
)
from jepaflow.training.latents import Latents, cached_latents
from tests.training.tiny_run import TINY, make_run, make_store

LENGTHS = [20, 24, 18, 30, 22]
QUICK = HeadsConfig(steps=5, batch_size=8, horizon=2, reach=3, cap=4, hidden=8, depth=1)
Place = Callable[..., Path]


@pytest.fixture(autouse=True)
def small_and_single(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(head_metrics, "PAIRS", 800)
    monkeypatch.setattr(head_metrics, "DRAWS", 20)
    monkeypatch.setattr(heads, "SCALER_PAIRS", 2000)
    monkeypatch.setattr(heads, "CALIBRATION_PAIRS", 2000)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", make_store(tmp_path / "s.h5", LENGTHS), [0, 1, 3], [2, 4])


def world(folder: Path, name: str, actions: np.ndarray, z: np.ndarray, lengths: list[int]) -> Latents:
    """Episodes with these actions, whose latents are known instead of encoded."""
    store = Store(make_store(folder / f"{name}.h5", lengths, actions.astype(np.float32)))
    return Latents(gather([store], [(0, e) for e in range(len(lengths))], False), torch.from_numpy(z).float())


@pytest.mark.parametrize("change", [False, True])
def test_inverse_dynamics_recovers_the_known_action(tmp_path: Path, change: bool) -> None:
    """Latents are a linear picture of a position that moves by the action (or to it, for absolute targets)."""
    rng, lengths = np.random.default_rng(0), [40] * 40
    picture = rng.standard_normal((2, 4))

    def drive(name: str) -> tuple[Latents, np.ndarray]:
        moves = rng.standard_normal((40, 40, 2))
        position = np.cumsum(moves, 1) - moves  # before the move
        actions = position + moves if change else moves
        return world(tmp_path, name, actions.reshape(-1, 2), (position @ picture).reshape(-1, 4), lengths), moves

    fitted, _ = drive("fitted")
    fresh, moves = drive("fresh")
    config = HeadsConfig(
        steps=250, batch_size=64, horizon=1, reach=1, hidden=32, depth=2, noise=0.0, weight_decay=0.0, lr=5e-3
    )
    head = train_inverse(fitted, fitted, config, 1, change)
    z, actions = fresh.z.view(40, 40, 4), torch.from_numpy(fresh.corpus.actions).view(40, 40, 1, 2)
    start = actions[:, :-2].flatten(0, 1)[:, 0] if change else None
    found = head.act(z[:, 1:-1].flatten(0, 1), z[:, 2:].flatten(0, 1), None, start)
    error = (found - actions[:, 1:-1].flatten(0, 1)).square().mean() / moves.var()
    assert error < 0.02
    rows = {row.name: row for row in inverse_figures(head, fresh)}
    assert rows["inverse/error"].value < 0.02 < 0.8 < rows["inverse/error"].floors["mean"]
    assert rows["inverse/error"].floors["other_goal"] > 1
    assert rows["inverse/error"].floors["no_change"] > 0.8


def ring(rows: int, start: float) -> np.ndarray:
    angle = 2 * np.pi * (np.arange(rows) / 60 + start)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def line(rows: int, start: float) -> np.ndarray:
    return np.stack([0.1 * np.arange(rows) + 3 * start, np.ones(rows)], 1)


@pytest.mark.parametrize("shape", [ring, line])
@torch.no_grad()
def test_distance_recovers_known_step_counts(tmp_path: Path, shape: Callable[[int, float], np.ndarray]) -> None:
    """At constant speed the steps between two places are known; a ring has a long way back, which latent distance misses."""
    rng, count = np.random.default_rng(0), 30
    z = np.concatenate([shape(50, s) for s in rng.random(count)])
    latents = world(tmp_path, "s", np.zeros((len(z), 1)), z, [50] * count)
    config = HeadsConfig(steps=300, batch_size=128, cap=20, hidden=64, depth=2, noise=0.0, lr=5e-3, negatives=0.0)
    with torch.enable_grad():
        head, baseline = train_distance(latents, latents, config, 2)
    path = torch.from_numpy(shape(50, 0.5)).float()
    for steps in (0, 1, 4, 10, 17):
        found = head(path[:10], path[2 * steps : 2 * steps + 10])
        assert float((found - steps).abs().mean()) < 0.6, steps
    if shape is ring:
        ahead, back = path[:10], path[24:34]
        assert float(head(back, ahead).mean()) > 16, "18 model steps ahead: the way back is the long way round"
        assert float((baseline(back, ahead) - baseline(ahead, back)).abs().max()) == 0
    rows = {row.name: row for row in distance_figures(head, baseline, latents, 2)}
    assert rows["distance/mae"].value < 0.5 < rows["distance/mae"].floors["median"]
    assert rows["distance/spearman"].value > 0.99


def test_pairs_are_uniform_over_all_that_exist(tmp_path: Path) -> None:
    store = Store(make_store(tmp_path / "s.h5", [3, 6, 1, 4]))
    corpus = gather([store], [(0, e) for e in range(4)], False)
    offsets = np.array([1, 2, 4])
    rows, drawn = hindsight(corpus, 60_000, offsets, 1, np.random.default_rng(0))
    exist = {
        (corpus.first[e] + s, o) for e in range(4) for s in range(1, corpus.length[e]) for o in (1, 2, 4)
        if s + o < corpus.length[e]
    }  # fmt: skip
    counts: dict[tuple[int, int], int] = {}
    for pair in zip(rows.tolist(), drawn.tolist()):
        counts[pair] = counts.get(pair, 0) + 1
    assert set(counts) == exist
    share = np.array(list(counts.values())) * len(exist) / 60_000
    assert share.min() > 0.9 and share.max() < 1.1
    with pytest.raises(JepaflowError, match="goal 7 control steps later: the longest has 6 rows"):
        hindsight(corpus, 1, np.array([7]), 0, np.random.default_rng(0))


def test_heads_are_made_saved_and_loaded_bit_by_bit(run: Path, tmp_path: Path) -> None:
    record = train_heads(load_run(run), QUICK, "jepaflow heads run")
    made = load_heads(run)
    saved = load_file(run / "heads.safetensors")
    z = torch.randn(2, 3, 6)
    first = [made.distance(z[0], z[1]), made.latent_distance(z[0], z[1]), made.inverse.act(z[0], z[1])]
    train_heads(load_run(run), QUICK, "again")
    again = load_heads(run)
    assert all(torch.equal(value, saved[key]) for key, value in load_file(run / "heads.safetensors").items())
    second = [again.distance(z[0], z[1]), again.latent_distance(z[0], z[1]), again.inverse.act(z[0], z[1])]
    assert all(torch.equal(a, b) for a, b in zip(first, second)) and not again.inverse.training
    assert again.inverse.config.horizon == 2 and made.checkpoint_step == 7
    written = json.loads((run / "heads.json").read_text())
    assert written["command"] == "again" and written["episodes"] == {"fitted": 2, "aside": 1, "held_out": 2}
    names = {row["name"] for row in record["rows"]}
    assert {"inverse/error", "inverse/error@1", "inverse/plan_error", "distance/mae", "distance/spearman"} <= names
    assert not list(run.glob(".*.tmp"))


def test_the_held_out_episodes_change_nothing(run: Path, tmp_path: Path) -> None:
    train_heads(load_run(run), QUICK, "x")
    saved = load_file(run / "heads.safetensors")
    rows = json.loads((run / "heads.json").read_text())["rows"]
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        for episode in (2, 4):
            own = slice(int(file["ep_offset"][episode]), int(file["ep_offset"][episode] + LENGTHS[episode]))
            file["pixels"][own] = 255 - file["pixels"][own]
            file["action"][own] = 5 + 2 * file["action"][own]
    train_heads(load_run(run), QUICK, "x")
    assert all(torch.equal(value, saved[key]) for key, value in load_file(run / "heads.safetensors").items())
    assert json.loads((run / "heads.json").read_text())["rows"] != rows, "but they are what it is judged on"


def test_latents_are_those_of_the_model_and_kept(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loaded = load_run(run)
    train, val = cached_latents(loaded)
    assert len(train.z) == 20 + 24 + 30 and len(val.z) == 18 + 22
    store = Store(tmp_path / "s.h5")
    frame = torch.from_numpy(store.pixels(store.episode_rows(3)[[5]]))[:, None]
    with torch.no_grad():
        torch.testing.assert_close(train.z[44 + 5], loaded.model.encode(frame)[0, 0])
    taken = train.take(np.array([2, 0]))
    assert torch.equal(taken.z, torch.cat([train.z[44:], train.z[:20]])) and taken.corpus.length.tolist() == [30, 20]
    (kept,) = (run / "latents").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(type(loaded.model), "encode", None)
        again, _ = cached_latents(loaded)
    assert torch.equal(again.z, train.z)
    kept.write_bytes(kept.read_bytes()[:100])
    assert torch.equal(cached_latents(loaded)[0].z, train.z), "a damaged cache is made anew"
    with torch.no_grad():
        loaded.model.projector[3].bias += 1  # type: ignore[operator]
    assert not torch.equal(cached_latents(loaded)[0].z, train.z)
    assert len(list((run / "latents").iterdir())) == 1, "latents of other weights are removed"


def test_model_steps_are_latents_and_the_blocks_between_them(run: Path) -> None:
    train, _ = cached_latents(load_run(run))
    first = train.corpus.first
    for phase in (0, 1):
        for (z, blocks), begin, length in zip(train.model_steps(4, phase), first, train.corpus.length):
            assert torch.equal(z, train.z[begin + phase : begin + length : 4])
            assert len(blocks) in (len(z) - 1, len(z)) and len(blocks) == (length - phase) // 4
            actions = train.corpus.actions[begin + phase + 4 : begin + phase + 8]
            assert torch.equal(blocks[1], torch.from_numpy(actions))


def test_changes_are_recognised_by_the_state_that_actions_track(tmp_path: Path) -> None:
    corpus = gather([Store(make_store(tmp_path / "s.h5", [50, 50]))], [(0, 0), (0, 1)], False)
    assert not answers_with_changes(corpus, "auto") and answers_with_changes(corpus, "change")
    path = make_store(tmp_path / "t.h5", [50, 50])
    with h5py.File(path, "r+") as file:
        file["action"][:] = np.cumsum(file["action"][:], 0)
        file["proprio"][:] = file["action"][:] + 0.01 * file["proprio"][:]
    corpus = gather([Store(path)], [(0, 0), (0, 1)], False)
    assert answers_with_changes(corpus, "auto") and not answers_with_changes(corpus, "raw")


@pytest.mark.parametrize("actions,last_action", [("raw", False), ("raw", True), ("change", False)])
def test_degenerate_data(tmp_path: Path, actions: str, last_action: bool) -> None:
    """One training episode, none held out that is long enough; then episodes too short for any goal."""
    config = replace(QUICK, actions=actions, last_action=last_action)
    run = make_run(tmp_path / "run", make_store(tmp_path / "s.h5", [5, 1]), [0], [1])
    record = train_heads(load_run(run), config, "x")
    assert record["episodes"]["fitted"] == 1
    assert all(row["name"].startswith("distance") for row in record["rows"])
    assert load_heads(run).inverse.act(torch.zeros(1, 6), torch.zeros(1, 6), None, torch.zeros(1, 2)).isfinite().all()
    short = make_run(tmp_path / "short", make_store(tmp_path / "t.h5", [2, 2, 2]), [0, 1], [2])
    with pytest.raises(JepaflowError, match="No episode is long enough for a goal 2 control steps later"):
        train_heads(load_run(short), config, "x")


def test_several_stores_and_the_robot_state(tmp_path: Path) -> None:
    one, two = make_store(tmp_path / "a.h5", [12, 15]), make_store(tmp_path / "b.h5", [14, 16], seed=1)
    run = make_run(tmp_path / "run", one, [0], [1], replace(TINY, proprio_dim=2))
    saved = json.loads((run / "config.json").read_text())
    saved["dataset"]["path"].append(str(two))
    (run / "config.json").write_text(json.dumps(saved))
    (run / "split.json").write_text(json.dumps({"train": [[0], [1]], "val": [[1], [0]]}))
    (run / "data.json").unlink()
    train, val = open_corpora(load_run(run))
    assert train.length.tolist() == [12, 16] and val.length.tolist() == [15, 14]
    rows = np.array([20, 3, 27])
    pixels, store = train.frames(rows, ("pixels",)), [Store(one), Store(two)]
    assert np.array_equal(pixels[1], store[0].pixels(np.array([3]))[0])
    assert np.array_equal(pixels[[0, 2]], store[1].pixels(np.array([14 + 8, 14 + 15])))
    train_heads(load_run(run), QUICK, "x")
    assert load_heads(run).inverse.config.action_dim == 2


def test_sentences(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(JepaflowError, match="has no heads yet"):
        load_heads(run)
    train_heads(load_run(run), QUICK, "x")
    model = load_run(run).model
    save_checkpoint(run, 8, model, torch.optim.AdamW(model.parameters()))
    with pytest.raises(JepaflowError, match="checkpoint of step 7, the newest is of step 8"):
        load_heads(run)
    (run / "heads.safetensors").write_bytes(b"damaged")
    with pytest.raises(JepaflowError, match="is damaged"):
        load_heads(run)
    other = make_store(tmp_path / "other.h5", LENGTHS, seed=9)
    with pytest.raises(JepaflowError, match="does not hold the episodes"):
        train_heads(load_run(run), QUICK, "x", (other,))
    assert main(["heads", str(run), "--dataset", str(tmp_path / "gone.h5")]) == 1
    assert "is not there" in capsys.readouterr().err
    with pytest.raises(JepaflowError, match="--reach is 0"):
        replace(QUICK, reach=0)


def test_a_run_without_actions_gets_a_sentence(tmp_path: Path) -> None:
    store = tmp_path / "s.h5"
    run = make_run(tmp_path / "run", make_store(store, [9, 9]), [0], [1])
    with h5py.File(store, "r+") as file:
        del file["action"]
    with pytest.raises(JepaflowError, match="has no actions"):
        train_heads(load_run(run), QUICK, "x")


def test_an_action_that_is_not_finite_is_named(run: Path, tmp_path: Path) -> None:
    (run / "data.json").unlink()
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["action"][20 + 24 + 18 + 4] = np.nan
    with pytest.raises(JepaflowError, match="action is not finite in episode 103, frame 4"):
        train_heads(load_run(run), QUICK, "x")


def test_the_command(run: Path, tmp_path: Path) -> None:
    words = ["--steps", "3", "--batch-size", "8", "--hidden", "8", "--reach", "3", "--horizon", "1", "--cap", "4"]
    assert main(["heads", str(run), *words, "--device", "cpu", "--json", str(tmp_path / "h.json")]) == 0
    rows = json.loads((tmp_path / "h.json").read_text())["rows"]
    assert "run/inverse/error" in {row["name"] for row in rows}
    assert load_heads(run).inverse.config.reach == 3


def test_rank_statistics() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(300)
    assert spearman(x, np.exp(x)) == pytest.approx(1) and spearman(x, -x) == pytest.approx(-1)
    assert spearman(x, np.zeros(300)) == 0
    assert auc(np.array([1.0, 2, 2, 3]), np.array([0.0, 0, 1, 1])) == pytest.approx(3.5 / 4)
    assert auc(x, np.zeros(300)) == 0.5
