"""Remedies cost the same, models are asked the same, and the command says what each buys."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jepaflow.cli.main import main
from jepaflow.common.errors import JepaflowError
from jepaflow.studies.horizon import REMEDIES, horizon_study
from jepaflow.training.config import TrainConfig
from jepaflow.training.objective import ObjectiveConfig


def test_all_remedies_cost_the_same(config: TrainConfig) -> None:
    plain = replace(config, batch_size=64, loss=ObjectiveConfig(sigreg=0.1))
    for name, remedy in REMEDIES.items():
        changed = remedy.apply(plain)
        assert changed.steps == plain.steps and changed.history == remedy.history
        assert changed.frames == remedy.history + max(1, remedy.rollout_steps)
        assert changed.batch_size * changed.frames == pytest.approx(64 * 4, rel=0.02), name
        assert changed.loss.sigreg * changed.batch_size == pytest.approx(0.1 * 64)
        assert (changed.loss.rollout > 0) == (remedy.rollout_steps > 0)
    assert REMEDIES["plain"].apply(plain) == plain


def test_cells_of_a_study(config: TrainConfig) -> None:
    study = horizon_study(replace(config, history=5), 50, ("both", "rollout"), 2, 7)
    assert [cell.title for cell in study.cells] == [
        f"{name}, seed {seed}" for seed in (0, 1) for name in ("plain", "rollout", "both")
    ]
    assert study.cells[0].config.history == 3  # the plain one is what it says
    assert {cell.config.steps for cell in study.cells} == {50 // (4 * 4)}
    assert study.measures[0].settings["history"] == 8 and study.measures[0].settings["horizon"] == 7


def test_what_cannot_be_compared(config: TrainConfig) -> None:
    with pytest.raises(JepaflowError, match="no remedy 'prayer'"):
        horizon_study(config, 50, ("prayer",), 1, 5)
    with pytest.raises(JepaflowError, match="at least 1"):
        horizon_study(config, 50, (), 0, 5)
    with pytest.raises(JepaflowError, match="--accumulate"):
        horizon_study(replace(config, accumulate=2), 50, (), 1, 5)


def test_the_command(tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, png = tmp_path / "horizon.json", tmp_path / "horizon.png"
    words = "--dataset.val-fraction 0.34 --preset tiny --block 2 --batch-size 6 --calibration-batches 1 --device cpu"
    words += f" --frames 48 --seeds 2 --horizon 8 --remedies rollout long_history --output-dir {tmp_path / 'cells'}"
    assert main(f"study horizon --dataset.path {store} {words} --json {out} --report {png}".split()) == 0
    said = capsys.readouterr().out
    assert "horizon 6/6" in said and "Rollout loss over 2 steps adds: skill" in said and "History 8 adds" in said
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    for name in ("plain", "rollout", "long_history"):
        assert {f"horizon/{name}/{what}@{h}" for what in ("skill", "joints_skill") for h in (1, 2, 5)} <= set(rows)
        assert ("horizon/plain/gain@1" in rows) is False and (f"horizon/{name}/gain@5" in rows) is (name != "plain")
    assert "horizon/plain/skill@10" not in rows
    counts = {rows[f"horizon/{name}/skill@1"]["n"] for name in ("plain", "rollout", "long_history")}
    assert len(counts) == 1  # the same windows for all
    assert "only 3 episodes reach" in rows["horizon/plain/skill@1"]["note"]
    gain = rows["horizon/rollout/skill@2"]["value"] - rows["horizon/plain/skill@2"]["value"]
    assert rows["horizon/rollout/gain@2"]["value"] == pytest.approx(gain)
    assert png.read_bytes()[:4] == b"\x89PNG"
