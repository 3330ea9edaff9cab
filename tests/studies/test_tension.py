"""The knee of curves that are known, the distance from a Gaussian, places read by a probe, and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jepaflow.cli.main import main
from jepaflow.diagnosis.forecast import cut_windows, measure_forecast
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.knee import find_knee
from jepaflow.studies.measures import Foretelling, Reading, Shape, gaussian_distance
from jepaflow.training.checkpoint import load_run
from jepaflow.worldmodel.sigreg import sigreg
from tests.training.tiny_run import make_run


def test_the_knee_of_a_saturating_curve() -> None:
    """y = (1 − e^−kx) / (1 − e^−k) is farthest from y = x where its slope is 1: x = ln(k / (1 − e^−k)) / k."""
    x = np.linspace(0, 1, 1001)
    for k in (3.0, 8.0):
        y = (1 - np.exp(-k * x)) / (1 - np.exp(-k))
        where = find_knee(5 + 100 * x, -3 * y)
        assert where is not None and x[where] == pytest.approx(np.log(k / (1 - np.exp(-k))) / k, abs=2e-3)


def test_curves_without_a_knee() -> None:
    x = np.linspace(0, 1, 9)
    circle = np.linspace(0, 2 * np.pi, 9)
    assert find_knee(x, 2 * x + 1) is None and find_knee(x, 0.0 * x) is None
    assert find_knee(np.cos(circle), np.cos(circle) * 0) is None
    assert find_knee(x[:2], x[:2] ** 2) is None and find_knee(x[:0], x[:0]) is None
    assert find_knee(np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0])) is None  # it comes back to where it began


def test_the_knee_may_turn_back_and_passes_over_holes() -> None:
    x, y = np.array([0.0, np.nan, 1.0, 0.9]), np.array([1.0, 0.5, 0.9, 0.0])
    assert find_knee(x, y) == 2


def test_distance_from_a_gaussian() -> None:
    z = torch.randn(4000, 6, generator=torch.Generator().manual_seed(3))
    ours = sigreg(z[:, None], torch.Generator().manual_seed(0), directions=512)
    assert gaussian_distance(z) == pytest.approx(float(ours) / 4000, rel=1e-4)
    assert gaussian_distance(z) < 0.002 < gaussian_distance(1.3 * z) < gaussian_distance(0 * z)
    assert gaussian_distance(z[::4]) == pytest.approx(gaussian_distance(z), abs=0.003)


def evidence(tmp_path: Path, store: Path) -> Evidence:
    return Evidence(load_run(make_run(tmp_path / "run", store, [0, 1, 2, 3, 4, 5], [6, 7, 8])))


def test_skill_is_that_of_the_diagnosis(tmp_path: Path, store: Path) -> None:
    known = evidence(tmp_path, store)
    readings = Foretelling(horizon=4, history=3)(known)
    windows = cut_windows(known.held_out, 3, 4)
    assert windows is not None
    errors = measure_forecast(known.model, windows)
    assert readings.ratios["skill"].values() == pytest.approx(1 - errors.model.sum(0) / errors.copy.sum(0))
    assert readings.ratios["skill"].count.tolist() == errors.count.tolist()
    assert readings.scalars["error@1"] == pytest.approx(errors.model[:, 0].sum() / errors.count[:, 0].sum())
    longer = Foretelling(horizon=2, history=5)(known)
    assert longer.ratios["skill"].count[:, 0].tolist() == (errors.count[:, 0] - 2).tolist()


def test_a_latent_that_holds_the_joints_is_read(tmp_path: Path, store: Path) -> None:
    """Latents that are a linear function of the joints have R² 1; read from the future itself, places are foretold exactly."""
    known = evidence(tmp_path, store)
    mix = np.random.default_rng(0).normal(size=(2, 6))

    def shown(along: list[Trajectory]) -> list[Trajectory]:
        found = []
        for one in along:
            rows = known.store.episode_rows(one.episode)[::2]
            z = torch.from_numpy(known.store.read("proprio", rows).astype(np.float64) @ mix).float()
            found.append(Trajectory(one.episode, 0, z, one.blocks))
        return found

    known.__dict__.update(held_out=shown(known.held_out), fitted_on=shown(known.fitted_on))
    assert Reading()(known).ratios["joints_r2"].values()[0] == pytest.approx(1, abs=1e-3)
    told = Foretelling(horizon=2)(known).ratios
    assert told["joints_skill_seen"].values() == pytest.approx(1, abs=1e-3)
    assert (told["joints_skill"].values() < 0.9).all()
    # Joints are noise here: their mean is wrong by one variance, standing still by two.
    assert told["joints_skill_mean"].values() == pytest.approx(0.5, abs=0.1)


def test_noise_cannot_be_read(tmp_path: Path, store: Path) -> None:
    known = evidence(tmp_path, store)
    assert abs(Reading()(known).ratios["joints_r2"].values()[0]) < 0.3
    shape = Shape()(known).scalars
    assert 1 <= shape["effective_rank"] <= 6 and shape["latent_dim"] == 6
    assert shape["gaussian_distance"] > shape["gaussian_distance_floor"]


def command(store: Path, folder: Path, *more: str) -> list[str]:
    words = "--dataset.val-fraction 0.34 --preset tiny --block 2 --batch-size 4 --calibration-batches 1 --device cpu"
    given = [f"--dataset.path={store}", f"--output-dir={folder / 'cells'}", *words.split()]
    return ["study", "tension", *given, *more]


def test_the_command(tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, png = tmp_path / "tension.json", tmp_path / "tension.png"
    words = command(store, tmp_path, "--lambdas", "0", "0.1", "1", "--seeds", "2", "--frames", "32")
    assert main([*words, "--json", str(out), "--report", str(png)]) == 0
    said = capsys.readouterr().out
    assert "tension 7/7" in said and "own latent space" in said and "From λ = 0 to 1" in said
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    figures = (
        "skill@1",
        "skill@5",
        "joints_r2",
        "joints_skill@5",
        "gaussian_distance",
        "not_normal",
        "effective_rank",
        "error@1",
    )
    assert {f"tension/{w}/{f}" for w in ("0", "0.1", "1") for f in figures} <= set(rows)
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows.values() if "skill" not in row["name"])
    assert {"copy_last", "mean_latent", "untrained"} == set(rows["tension/0/skill@1"]["floors"])
    assert rows["tension/1/effective_rank"]["seeds"] == 2 and "min and max" in rows["tension/1/effective_rank"]["note"]
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert main(words) == 0 and "known already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "sentence", "code"),
    [
        (("--lambdas", "0.1"), "at least two different --lambdas", 1),
        (("--lambdas", "0.1", "-1"), "must not be negative", 1),
        (("--seeds", "0"), "one of --seeds", 1),
        (("--frames", "3"), "less than one step", 1),
        (("--steps", "5"), "Leave --steps out", 2),
        (("--dataset.path", "a.h5", "b.h5"), "needs one store", 2),
    ],
)
def test_what_cannot_be_studied_is_said(
    more: tuple[str, ...], sentence: str, code: int, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(store, tmp_path, *more)) == code
    assert sentence in capsys.readouterr().err
