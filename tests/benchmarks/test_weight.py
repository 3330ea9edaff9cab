"""The scales: every row says what it is, arithmetic agrees with PyTorch's own count, ratios are of what is shown."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import flops, weight
from benchmarks.plan_heads import random_heads
from benchmarks.plan_setup import awake
from benchmarks.published import MODELS
from jepaflow.cli.evaluate import CPU_SOLVER
from jepaflow.cli.main import main
from jepaflow.worldmodel.jepa import JEPA
from tests.training.tiny_run import TINY, make_run, make_store

CPU = torch.device("cpu")
FIGURES = ("parameters", "bytes", "flops", "decisions_per_second", "actions")


def made(change: bool) -> weight.Ours:
    model = awake(replace(TINY, block=3, action_change=change), CPU)
    return weight.Ours("tiny", model, random_heads(model, change), 0, 0)


def one_decision(ours: weight.Ours, route: str) -> int:
    """FLOP that PyTorch counts in one decision, with a whole history seen."""
    config, controller = ours.model.config, weight.controller(ours, route)
    frames = np.zeros((1, 1, config.image_size, config.image_size, 3), np.uint8)
    controller.reset(frames, None, np.zeros((1, config.action_dim), np.float32))
    for _ in range(config.history + 2):
        counter = FlopCounterMode(display=False)
        with counter:
            controller.act(frames)
        for _ in range(config.block - 1):
            controller.act(None)
    return counter.get_total_flops()


@pytest.mark.parametrize("change", [False, True])
def test_a_decision_of_the_head(change: bool) -> None:
    ours = made(change)
    assert one_decision(ours, "inverse") == ours.flops("inverse")


def test_a_decision_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """What plans share (the history's keys and values, the last search's plan) is all that is not counted."""
    small = replace(CPU_SOLVER, samples=40, precision="float32")
    monkeypatch.setattr(weight, "CPU_SOLVER", small)
    monkeypatch.setitem(weight.ROUTES, "search", (small, *weight.ROUTES["search"][1:]))
    ours = made(False)
    counted = one_decision(ours, "search")
    assert ours.flops("search") <= counted <= 1.05 * ours.flops("search")
    assert ours.flops("search") > flops.encoded(ours.model.config)


def rows_of(path: Path) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads(path.read_text())["rows"]}


def test_the_command_weighs_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = make_run(tmp_path / "arm", make_store(tmp_path / "s.h5", [12, 12]), [0], [1]), tmp_path / "weight.json"
    assert main(["benchmark", "weight", str(run), "--decisions", "2", "--device", "cpu", "--json", str(out)]) == 0
    rows = rows_of(out)
    others = {f"weight/{model.key}/{what}" for model in MODELS for what in (*FIGURES, "times_ours")}
    assert set(rows) == others | {f"weight/jepaflow_{route}/{what}" for route in weight.ROUTES for what in FIGURES}
    for name, row in rows.items():
        kinds = ("measured", "counted") if "jepaflow" in name else ("quoted", "estimated")
        assert str(row["note"]).startswith(kinds), name
        assert "http" not in str(row["note"])
    known = sum(p.numel() for p in JEPA(TINY).parameters())
    assert rows["weight/jepaflow_search/parameters"]["value"] == known
    file = next(run.glob("checkpoints/*/pretrained_model/model.safetensors"))
    assert rows["weight/jepaflow_search/bytes"]["value"] == file.stat().st_size
    ours = rows["weight/jepaflow_inverse/parameters"]["value"]
    assert rows["weight/openvla/times_ours"]["value"] == pytest.approx(7_541_237_184 / ours)  # type: ignore[operator]
    said = capsys.readouterr().out
    assert all(f"quoted: {model.title}" in said for model in MODELS) and "measured: inverse head" in said
    assert max(map(len, said[said.index("A decision of each") :].splitlines())) <= 80


def test_without_a_run_a_made_model_is_weighed(tmp_path: Path) -> None:
    out = tmp_path / "weight.json"
    assert main(["benchmark", "weight", "--decisions", "2", "--device", "cpu", "--json", str(out)]) == 0
    rows = rows_of(out)
    assert "untrained nano with two cameras" in str(rows["weight/jepaflow_inverse/flops"]["note"])
    model = weight._made("nano", CPU).model
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, tmp_path / "m.safetensors")
    size = (tmp_path / "m.safetensors").stat().st_size
    assert rows["weight/jepaflow_search/bytes"]["value"] == pytest.approx(size, rel=1e-3)


def test_too_few_decisions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "weight", "--decisions", "1"]) == 2
    assert "--decisions is 1" in capsys.readouterr().err
