"""`jepaflow benchmark` with degenerate budgets: every row comes, in one file; what it cannot do it says. Nothing is timed."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import limits, speed_plan, speed_train
from benchmarks.made_store import make_store
from benchmarks.reference.dino_wm import DinoSize
from jepaflow.cli import benchmark
from jepaflow.cli.main import main
from jepaflow.data.store import Store
from tests.data.builders import make_v2

LIMITS = [f"speed/limit/{name}" for name in ("gemm_float32", "gemm_bf16", "copy")]
TINY_DINO = DinoSize(patches=4, width=6, action_width=2, depth=1, heads=2, dim_head=3, mlp=8)


@pytest.fixture(autouse=True)
def _quick_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's limits are measured for no time at all."""
    for module in (speed_plan, speed_train):
        monkeypatch.setattr(module, "measure", lambda device, shapes: limits.measure(device, (), 0.0, 1))


def rows_of(path: Path) -> dict[str, dict[str, object]]:
    """Rows by name."""
    return {row["name"]: row for row in json.loads(path.read_text())["rows"]}


def small(*words: str) -> list[str]:
    """A plan of next to nothing."""
    budget = "--budget.samples 12 --budget.iterations 2 --budget.horizon 2 --budget.repeats 1 --budget.dino-samples 1"
    return ["benchmark", "plan", "--preset", "nano", "--device", "cpu", *budget.split(), *words]


def test_plan_measures_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_plan, "DinoSize", lambda: TINY_DINO)
    out = tmp_path / "speed.json"
    assert main(small("--budget.part", "1", "--json", str(out))) == 0
    rows = rows_of(out)
    assert list(rows) == [
        *LIMITS,
        *(f"speed/{name}" for name in ("lewm_weights", "lewm_weights_1", "vs_plain_lewm", "vs_plain_lewm_same_predictor")),
        *("speed/vs_dino_wm", "speed/gc_idm_vs_cem"),
        *("speed/useful_plan_ms", "speed/useful_plan_ms_cem"),
        *(f"speed/scaling/{of}" for of in ("samples", "iterations", "horizon", "latent")),
    ]  # fmt: skip
    for name in ("speed/lewm_weights", "speed/lewm_weights_1"):
        note = rows[name]["note"]
        assert (
            "elites the same in 1 of 1 iterations" in note and "GEMM rate" in note and "1 of the iterations run" in note
        )


def test_rows_are_kept_when_others_are_measured(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    assert main(small("--rows", "lewm_weights", "--json", str(out))) == 0
    assert main(small("--rows", "gc_idm_vs_cem", "--json", str(out))) == 0
    assert set(rows_of(out)) == {*LIMITS, "speed/lewm_weights", "speed/gc_idm_vs_cem"}


def test_train_measures_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "speed.json"
    words = "--batch-size 2 --steps 1 --repeats 1 --curve 2 --seeds 2 --device cpu --json"
    assert main(["benchmark", "train", *words.split(), str(out)]) == 0
    rows = rows_of(out)
    steps = ("vs_plain_step", "vs_plain_step_small", "vs_plain_step_float32", "vs_plain_step_small_float32")
    assert list(rows) == [
        *LIMITS, *(f"train/{name}" for name in (*steps, "loss_difference")), "speed/scaling/pixels", "speed/scaling/parameters"
    ]  # fmt: skip
    assert rows["train/loss_difference"]["value"] < 0.1 and rows["train/loss_difference"]["floors"]["between_seeds"] > 0


def test_load_and_convert_measure_every_row(tmp_path: Path) -> None:
    dataset, out = make_v2(tmp_path / "v2"), tmp_path / "speed.json"
    words = f"--repeats 1 --windows 32 --sizes 40 80 --json {out}"
    assert main(["benchmark", "load", str(dataset), *words.split()]) == 0
    assert main(["benchmark", "convert", str(dataset), "--repeats", "1", "--json", str(out)]) == 0
    expected = [
        "loading/store_vs_mp4",
        "loading/windows_per_second",
        "speed/scaling/store",
        "convert/vs_decode",
        "convert/workers",
    ]
    assert list(rows_of(out)) == expected


def test_sub_goals_are_timed(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    assert (
        main(["benchmark", "subgoals", "--landmarks", "64", "--horizon", "16", "--repeats", "1", "--json", str(out)])
        == 0
    )
    assert "speed/subgoals_replan" in rows_of(out)
    assert all(row["value"] > 0 for row in rows_of(out).values())


@pytest.mark.parametrize(
    ("words", "sentence", "code"),
    [
        ("subgoals --repeats 0", "--repeats is 0", 2),
        ("plan --rows nothing", "There is no row 'nothing'", 1),
        ("plan --budget.samples 0", "--budget.samples is 0", 2),
        ("plan --budget.part 31", "only 30 iterations", 2),
        ("train --batch-size 1", "--batch-size is 1", 2),
        ("train --presets huge", "no preset 'huge'", 1),
        ("load FOLDER", "has no mp4", 1),
        ("convert FOLDER --repeats 0", "--repeats is 0", 2),
        ("convert FOLDER --workers 1", "--workers is 1", 2),
    ],
)
def test_what_cannot_be_measured_is_said(
    words: str, sentence: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", *words.replace("FOLDER", str(tmp_path)).split()]) == code
    assert sentence in capsys.readouterr().err


def test_an_installed_wheel_says_that_it_has_no_benchmarks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "__file__", str(tmp_path / "lib" / "jepaflow" / "cli" / "benchmark.py"))
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", "plan"]) == 1
    assert "Run this in a checkout" in capsys.readouterr().err


def test_a_made_store_is_one(tmp_path: Path) -> None:
    store = Store(make_store(tmp_path / "s.h5", 1100, 16, seed=3))
    assert store.ep_len.tolist() == [500, 500, 100] and store.length == 1100
    frames = store.pixels(np.array([0, 499, 1099]))
    assert frames.shape == (3, 1, 16, 16, 3)
    assert all((frame == (240, 200, 60)).all(-1).sum() == 4 for frame in frames[:, 0])
