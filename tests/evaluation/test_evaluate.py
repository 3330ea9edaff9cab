"""`jepaflow evaluate` on a real run folder with an untrained model: everything but the success."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import tyro

from jepaflow.cli.evaluate import Args, _seconds, run
from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.planning.config import SolverConfig
from jepaflow.training.checkpoint import save_checkpoint
from jepaflow.training.cloning import Clone, save_clone
from jepaflow.worldmodel.inverse import InverseConfig
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig
from jepaflow.worldmodel.presets import PRESETS

SOLVER = SolverConfig(samples=4, elites=2, iterations=1, horizon=2, parameters="hold")


def make_run(folder: Path, store: Path, config: JEPAConfig) -> Path:
    """Write a run folder as training does."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"dataset": {"path": [str(store)]}}))
    (folder / "split.json").write_text(json.dumps({"train": [[0, 1, 2]], "val": [[3, 4, 5, 6, 7]]}))
    model = JEPA(config)
    optimizer = torch.optim.AdamW(model.parameters())
    save_checkpoint(folder, 1, model, optimizer)
    return folder


@pytest.fixture(scope="module")
def tiny() -> JEPAConfig:
    return replace(PRESETS["nano"], image_size=16)


def test_two_runs_are_pooled_and_written_in_the_results_shape(
    two_room_store: Store, tmp_path: Path, tiny: JEPAConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = tuple(make_run(tmp_path / name, two_room_store.path, tiny) for name in ("a", "b"))
    figures = tmp_path / "two_room.json"
    args = Args(folders, episodes=3, budget=10, solver=SOLVER, json=figures)
    assert run(args) == 0
    saved = json.loads(figures.read_text())
    assert [row["name"] for row in saved["rows"]] == ["two_room/success@25", "two_room/success_end@25"]
    for row in saved["rows"]:
        assert (row["n"], row["seeds"], row["unit"]) == (6, 2, "fraction")
        assert set(row["floors"]) == {"random", "random_hold", "still", "unguided"}
        assert row["low"] <= row["value"] <= row["high"]
    shown = capsys.readouterr().out
    assert "already solved" in shown
    lists = [
        json.loads((f / "evaluation" / f"starts-two_room-25-seed{i}.json").read_text()) for i, f in enumerate(folders)
    ]
    assert all(start["episode"] >= 3 for listed in lists for start in listed["starts"])
    assert lists[0]["starts"] != lists[1]["starts"]


def test_the_same_command_gives_the_same_figures(two_room_store: Store, tmp_path: Path, tiny: JEPAConfig) -> None:
    folder = make_run(tmp_path / "a", two_room_store.path, tiny)
    rows = []
    for name in ("first", "second"):
        run(Args((folder,), episodes=4, budget=10, solver=SOLVER, json=tmp_path / name))
        rows.append(json.loads((tmp_path / name).read_text())["rows"])
    assert rows[0] == rows[1]


def test_a_model_with_the_robot_s_state_as_input_can_be_evaluated(
    two_room_store: Store, tmp_path: Path, tiny: JEPAConfig
) -> None:
    folder = make_run(tmp_path / "a", two_room_store.path, replace(tiny, proprio_dim=2))
    assert run(Args((folder,), episodes=1, budget=5, solver=SOLVER)) == 0


def test_what_does_not_fit_is_said_in_a_sentence(two_room_store: Store, tmp_path: Path, tiny: JEPAConfig) -> None:
    with pytest.raises(JepaflowError, match="no run to evaluate"):
        run(Args(()))
    with pytest.raises(JepaflowError, match="not a run folder"):
        run(Args((tmp_path / "nothing",)))
    fits = make_run(tmp_path / "a", two_room_store.path, tiny)
    with pytest.raises(JepaflowError, match="no environment 'three_room'"):
        run(Args((fits,), env="three_room"))
    with pytest.raises(JepaflowError, match="Ask for fewer"):
        run(Args((fits,), episodes=100_000))
    six = make_run(tmp_path / "six", two_room_store.path, replace(tiny, action_dim=6))
    with pytest.raises(JepaflowError, match="6 action dimensions"):
        run(Args((six,), episodes=1))
    two_cameras = make_run(tmp_path / "two", two_room_store.path, replace(tiny, cameras=("pixels", "wrist")))
    with pytest.raises(JepaflowError, match="2 cameras"):
        run(Args((two_cameras,), episodes=1))


@pytest.mark.parametrize(("text", "seconds"), [("50ms", 0.05), ("0.2s", 0.2), ("3", 3.0), (None, None)])
def test_deadlines_are_read(text: str | None, seconds: float | None) -> None:
    assert _seconds(text) == (None if seconds is None else pytest.approx(seconds))


def test_what_is_not_a_time_is_named() -> None:
    for text in ("soon", "5m", "ms"):
        with pytest.raises(JepaflowError, match=f"--deadline {text}"):
            _seconds(text)


def test_every_solver_is_chosen_on_the_command_line() -> None:
    words = "--solver.kind icem --solver.samples 64 --solver.parameters displace --cost.effort 0.1 --deadline 50ms"
    args = tyro.cli(Args, args=["runs/a", *words.split()])
    assert (args.solver.kind, args.solver.samples, args.solver.parameters) == ("icem", 64, "displace")
    assert (args.cost.effort, args.deadline) == (0.1, "50ms")


@pytest.mark.parametrize("kind", ["icem", "mppi", "gradient", "random"])
def test_every_solver_plans_with_a_real_model(
    two_room_store: Store, tmp_path: Path, tiny: JEPAConfig, kind: str
) -> None:
    folder = make_run(tmp_path / "a", two_room_store.path, tiny)
    solver = replace(SOLVER, kind=kind, parameters="displace")
    assert run(Args((folder,), episodes=2, budget=6, solver=solver, deadline="10s")) == 0


@pytest.mark.parametrize("counts", [{"seeds": 0}, {"episodes": 0}, {"seeds": -1}])
def test_an_evaluation_of_nothing_is_refused(
    two_room_store: Store, tmp_path: Path, tiny: JEPAConfig, counts: dict[str, int]
) -> None:
    folder = make_run(tmp_path / "a", two_room_store.path, tiny)
    for protocol in ("two_room_25", None):
        with pytest.raises(JepaflowError, match="at least 1"):
            run(Args((folder,), protocol=protocol, solver=SOLVER, **counts))


@pytest.mark.parametrize("proprio", [0, 2])
def test_a_behaviour_clone_is_a_floor_where_there_is_one(
    two_room_store: Store, tmp_path: Path, tiny: JEPAConfig, proprio: int
) -> None:
    config, figures = replace(tiny, proprio_dim=proprio), tmp_path / "figures.json"
    folder = make_run(tmp_path / "a", two_room_store.path, config)
    sizes = InverseConfig(config.latent_dim, 2, config.block, horizon=1, change=True, hidden=8)
    save_clone(folder, Clone(config, sizes).eval())
    assert run(Args((folder,), episodes=2, budget=6, solver=SOLVER, json=figures)) == 0
    first = json.loads(figures.read_text())["rows"][0]
    assert 0.0 <= first["floors"]["clone"] <= 1.0


def test_another_look_is_told_and_one_that_nobody_sees_refused(
    tmp_path: Path, tiny: JEPAConfig, two_room_store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path / "arm", tmp_path / "gone.h5", replace(tiny, action_dim=6, cameras=("pixels",)))
    figures = tmp_path / "figures.json"
    args = Args((folder,), protocol="so101/reach_25", episodes=2, seeds=1, solver=SOLVER, rate=None, json=figures)
    assert run(replace(args, fix=("light.level=0.2", "camera.laptop=0.02,0,0"))) == 0
    assert "light.level=0.2" in capsys.readouterr().out
    rows = json.loads(figures.read_text())["rows"]
    assert [row["name"] for row in rows[:2]] == [
        f"plan/reach_25/light.level=0.2/camera.laptop=0.02,0,0/cem{end}" for end in ("", "_end")
    ]
    assert "light.level=0.2, camera.laptop=0.02,0,0" in rows[0]["note"] and rows[0]["ceilings"]["replay"] == 1.0
    for fix, message in (
        ("camera.phone=0.02,0,0", "looks through laptop, not through phone"),
        ("light=1", "no factor"),
    ):
        with pytest.raises(JepaflowError, match=message):
            run(replace(args, fix=(fix,)))
    with pytest.raises(JepaflowError, match="no cameras, factors or models"):
        run(Args((make_run(tmp_path / "two", two_room_store.path, tiny),), episodes=2, fix=("light.level=0.2",)))
