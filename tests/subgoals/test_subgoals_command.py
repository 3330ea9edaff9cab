"""`jepaflow subgoals`: fits a tiny run once, checks it, plans, draws; says what is missing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jepaflow.cli.main import main
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, write_json
from jepaflow.subgoals.aside import set_aside
from jepaflow.subgoals.ask import _in_turn, route_classes
from jepaflow.subgoals.check import check
from jepaflow.subgoals.fitted import load_subgoals
from jepaflow.subgoals.foresight import Foresight
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.reachability import Reachability
from jepaflow.subgoals.surprised import forecast_errors, surprising
from jepaflow.subgoals.walker import AimConfig
from jepaflow.subgoals.walks import walks_of
from jepaflow.training import head_metrics, heads
from jepaflow.training.checkpoint import load_run
from jepaflow.training.head_pairs import halves
from jepaflow.training.heads import HeadsConfig, load_heads, train_heads
from jepaflow.training.latents import cached_latents
from tests.training.tiny_run import make_run, make_store

QUICK = HeadsConfig(steps=5, batch_size=8, horizon=2, reach=3, cap=4, hidden=8, depth=1)
FIT = ["--landmarks.count", "24", "--build.tau", "0.05", "--flow.steps", "3", "--horizon", "8", "--hidden", "8"]
FIT += ["--flow.walks", "8"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny run with heads and sub-goals."""
    patch = pytest.MonkeyPatch()
    for module, name, value in ((head_metrics, "PAIRS", 200), (head_metrics, "DRAWS", 5)):
        patch.setattr(module, name, value)
    patch.setattr(heads, "SCALER_PAIRS", 300)
    patch.setattr(heads, "CALIBRATION_PAIRS", 300)
    folder = tmp_path_factory.mktemp("made")
    path = make_run(folder / "run", make_store(folder / "s.h5", [30, 34, 28, 40, 32]), [0, 1, 3], [2, 4])
    train_heads(load_run(path), QUICK, "x")
    patch.undo()
    assert main(["subgoals", "fit", str(path), *FIT]) == 0
    return path


def test_fitting_again_does_nothing_and_other_settings_repeat_only_what_depends_on_them(run: Path) -> None:
    folder = run / "subgoals"
    assert {p.name for p in folder.iterdir()} >= {"landmarks.safetensors", "landmarks.json", "graph.safetensors"}
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.suffix in (".safetensors", ".json")}
    assert main(["subgoals", "fit", str(run), *FIT]) == 0
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
    assert main(["subgoals", "fit", str(run), *FIT, "--flow.lr", "0.001"]) == 0
    after = {name: (folder / name).stat().st_mtime_ns for name in before}
    assert after["graph.safetensors"] == before["graph.safetensors"]
    assert after["flow.safetensors"] != before["flow.safetensors"]
    known = load_subgoals(load_run(run))
    assert known.graph.nodes == 24 and known.config.flow.lr == 0.001 and 1 <= known.held_out.sum() <= 3
    assert known.config.landmarks.count == 24 and known.report["connected_pairs"] > 0.1


def test_what_was_fitted_is_checked_against_the_exact_flows(run: Path, tmp_path: Path, capsys) -> None:
    figures = tmp_path / "f.json"
    assert main(["subgoals", "verify", str(run), "--goals", "4", "--betas", "1", "--json", str(figures)]) == 0
    rows = {row["name"]: row for row in read_json(figures)["rows"]}
    assert set(rows) == {"gfn/fitted/kl_trained_b1", "gfn/fitted/kl_heldout_b1"}
    assert all(0 <= row["low"] <= row["value"] <= row["high"] < 20 for row in rows.values())
    assert "held-out" in capsys.readouterr().out


@pytest.mark.parametrize("planner", ["gflownet", "exact", "dijkstra"])
def test_plans_lead_from_frame_to_frame(run: Path, tmp_path: Path, planner: str) -> None:
    out = tmp_path / "plans.json"
    words = ["--start", "0", "0", "--goal", "4", "20", "--count", "3", "--planner", planner, "--beta", "1"]
    assert main(["subgoals", "plan", str(run), *words, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert 1 <= len(found["plans"]) <= 3
    assert all(plan["cost"] >= found["least_cost"] - 1e-9 for plan in found["plans"])
    assert all(0 <= node < 24 for plan in found["plans"] for node in plan["nodes"])
    assert sum(found["route_shares"]) == pytest.approx(1.0)


def test_plans_are_drawn(run: Path, tmp_path: Path) -> None:
    words = ["--start", "0", "0", "--goal", "1", "20", "--count", "2", "--output", str(tmp_path)]
    assert main(["subgoals", "show", str(run), *words]) == 0
    for name in ("plans.png", "graph.png"):
        picture = np.asarray(Image.open(tmp_path / name).convert("RGB"))
        assert min(picture.shape[:2]) > 150 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_what_is_missing_is_said(run: Path, tmp_path: Path, capsys) -> None:
    bare = make_run(tmp_path / "bare", make_store(tmp_path / "s.h5", [20, 24]), [0], [1])
    for words, sentence in (
        (["verify", str(bare)], "Fit them first"),
        (["fit", str(bare)], "heads"),
        (["plan", str(run), "--start", "0", "999", "--goal", "0", "5"], "no step 999"),
        (["plan", str(run), "--start", "0", "0", "--goal", "0", "5", "--planner", "astar"], "no planner 'astar'"),
        (["fit", str(run), *FIT, "--avoid-from", "3"], "Leave --avoid-from out"),
    ):
        assert main(["subgoals", *words]) in (1, 2)
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["verify", "--seed", "-1"], "--seed"),
        (["verify", "--betas", "nan"], "--betas"),
        (["plan", "--start", "0", "0", "--goal", "4", "20", "--seed", "-1"], "--seed"),
        (["show", "--start", "0", "0", "--goal", "4", "20", "--count", "99"], "at most"),
        (["fit", "--flow.seed", "-1"], "seed"),
        (["fit", "--avoid-from", "-1"], "--avoid-from"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(run: Path, words: list[str], sentence: str, capsys) -> None:
    assert main(["subgoals", words[0], str(run), *words[1:]]) in (1, 2)
    assert sentence in capsys.readouterr().err


def test_a_fit_that_fails_leaves_the_last_one_as_it_was(run: Path, capsys) -> None:
    """It once wrote new landmarks and a new graph before the flows could not be trained."""
    folder = run / "subgoals"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".safetensors", ".json")}
    assert main(["subgoals", "fit", str(run), "--landmarks.count", "1"]) == 1
    assert "No training goal can be reached" in capsys.readouterr().err
    assert {name: (folder / name).read_bytes() for name in before} == before
    load_subgoals(load_run(run))


def test_files_of_other_models_and_heads_and_damaged_ones_are_noticed(run: Path, tmp_path: Path, capsys) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    said = copy / "subgoals" / "subgoals.json"
    good = read_json(said)
    for change, sentence in (
        ({"config": None}, "damaged"),
        ({"config": good["config"] | {"flow": {"unheard": 1}}}, "damaged"),
        ({"landmarks": "other"}, "another model"),
    ):
        said.write_text(json.dumps(good | change))
        assert main(["subgoals", "verify", str(copy)]) == 1
        assert sentence in capsys.readouterr().err
    said.write_text(json.dumps(good | {"graph": "other"}))
    known = load_subgoals(load_run(copy))
    assert "other heads" in " ".join(capsys.readouterr().out.split())
    said.write_text(json.dumps(good))
    replace(known.landmarks, z=known.landmarks.z + 1).save(copy / "subgoals" / "landmarks.safetensors")
    with pytest.raises(JepaflowError, match="do not belong together"):
        load_subgoals(load_run(copy))
    (copy / "subgoals" / "landmarks.safetensors").unlink()
    assert main(["subgoals", "fit", str(copy), *FIT]) == 0  # what is missing is made anew
    load_subgoals(load_run(copy))


def test_what_is_set_aside_is_what_the_heads_left_out(run: Path, tmp_path: Path) -> None:
    latents, _ = cached_latents(load_run(run))
    episodes = []
    for share, seed in ((0.3, 0), (0.3, 3), (0.7, 0)):
        write_json(tmp_path / "heads.json", {"training": {"aside": share, "seed": seed}})
        own = set_aside(tmp_path, latents)
        assert torch.equal(own.z, halves(latents, share, np.random.default_rng([seed, 0]))[1].z)
        episodes.append(own.corpus.where.tolist())
    assert any(one != episodes[0] for one in episodes[1:])
    write_json(tmp_path / "heads.json", {})
    with pytest.raises(JepaflowError, match="Train them anew"):
        set_aside(tmp_path, latents)


def test_goals_that_nothing_leads_to_are_said(run: Path) -> None:
    known = load_subgoals(load_run(run))
    alone = known.graph.without(list(zip(known.graph.source.tolist(), known.graph.indices.tolist(), strict=True)))
    with pytest.raises(JepaflowError, match="can be reached within 8 edges"):
        check(replace(known, graph=alone), (1.0,), 4, 0)


def test_imagined_costs_are_counted_in_blocks(run: Path) -> None:
    loaded = load_run(run)
    known, made = Reachability(load_heads(run).distance), load_heads(run)
    low, high = torch.full((2,), -1.0), torch.full((2,), 1.0)
    foresight = Foresight(loaded.model, made.inverse, known, low, high, blocks=3)
    z = torch.randn(2, 6)
    rows = torch.stack([torch.randn(4, 6), z[1].expand(4, -1)])
    to_go = torch.tensor([[9.0, 6.0, 3.0, 0.0], [0.0] * 4])
    cost = foresight.cost(z, rows, to_go, AimConfig(within=1))
    assert foresight.evaluations == 6
    assert float(cost[1]) == pytest.approx(float(known.between(z[1:], z[1:])[0]), abs=1e-4)  # it is there already
    assert float(cost[0]) >= 0 and cost.shape == (2,)
    alone = foresight.cost(z[:1], rows[:1], to_go[:1], AimConfig(within=1))
    assert torch.allclose(alone, cost[:1], atol=1e-4)


def test_forecast_errors_are_those_of_the_model(run: Path) -> None:
    loaded = load_run(run)
    latents, _ = cached_latents(loaded)
    z, blocks = latents.model_steps(loaded.model.config.block)[0]
    seen, done = [z[k : k + 1] for k in range(5)], [blocks[k : k + 1] for k in range(5)]
    error = forecast_errors(loaded.model, seen, done, z[5:6])
    window = loaded.model.config.history
    with torch.no_grad():
        forecast = loaded.model.predict(z[None, 5 - window : 5], blocks[None, 5 - window : 5])[:, -1]
    assert error[0] == pytest.approx(float((forecast - z[5:6]).square().mean()), rel=1e-4)
    assert surprising(loaded, latents, 0.2) > 0


def test_routes_are_told_apart_by_how_far_walks_lie_from_each_other() -> None:
    """A ladder of two rails, 0 … 9 and 10 … 19, joined at both ends."""
    one = np.concatenate([np.arange(9), np.arange(10, 19), [0, 9]])
    other = np.concatenate([np.arange(1, 10), np.arange(11, 20), [10, 19]])
    both = np.concatenate([one, other]), np.concatenate([other, one])
    graph = Graph.from_edges(*both, np.ones(40), np.zeros((20, 1)))
    upper, lower = list(range(10)), [0, *range(10, 20), 9]
    back = [0, 1, 0, *range(1, 10)]
    assert route_classes(graph, walks_of([upper, lower, back]), same=3.0).tolist() == [0, 1, 0]
    assert route_classes(graph, walks_of([upper, lower]), same=9.0).tolist() == [0, 0]
    assert route_classes(graph, walks_of([])).tolist() == []


def test_plans_of_each_route_come_in_turn() -> None:
    """The first walk of each route, then the second of each."""
    assert _in_turn(np.array([1, 0, 0, 2, 0, 1])).tolist() == [1, 0, 3, 2, 5, 4]
    assert _in_turn(np.zeros(0, np.int64)).tolist() == []
