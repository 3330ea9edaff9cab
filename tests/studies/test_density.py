"""Sizes, budgets and laws of a density study, and the command from a store to a published page."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepaflow.cli.main import main
from jepaflow.common.errors import JepaflowError
from jepaflow.studies.cells import Cell, Result
from jepaflow.studies.density import density_study, gather
from jepaflow.studies.density_page import density_outcome
from jepaflow.studies.density_plan import (
    Pace,
    Plan,
    choose_sizes,
    fit_plan,
    pace_of,
    parse_minutes,
    seconds_of,
    training_episodes,
)
from jepaflow.studies.outcome import read_outcome
from jepaflow.studies.readings import Ratio, Readings
from jepaflow.training.config import TrainConfig

WINDOWS = tuple(100 * n for n in range(1, 201))


def test_sizes_are_nested_and_log_spaced() -> None:
    sizes = choose_sizes(WINDOWS, 5, 64)
    assert sizes[0] == 5 and sizes[-1] == 200 and len(sizes) == 5
    assert np.diff(np.log(sizes)) == pytest.approx(np.log(40) / 4, rel=0.1)
    assert choose_sizes(WINDOWS, 4, 2000)[0] == 20  # the first with a batch of windows
    assert choose_sizes(WINDOWS[:8], 5, 64)[0] == 2
    with pytest.raises(JepaflowError, match="too few for a curve"):
        choose_sizes(WINDOWS[:3], 5, 300)


def test_a_plan_fits_its_budget() -> None:
    pace = Pace(0.25, 10.0)
    for minutes in (30, 60, 240):
        plan = fit_plan(WINDOWS, 64, pace, 60.0 * minutes, 3)
        assert 0.75 * 60 * minutes < seconds_of(plan, WINDOWS, pace) <= 0.9 * 60 * minutes + 1
    assert (
        len(fit_plan(WINDOWS, 64, pace, 14400.0, 3).sizes) == 7
        and len(fit_plan(WINDOWS, 64, pace, 1500.0, 3).sizes) < 7
    )
    assert fit_plan(WINDOWS, 64, Pace(1e-4, 0.1), 36000.0, 3).steps == 4000
    with pytest.raises(JepaflowError, match=r"too small: 4 sizes × 3 seeds × 60 steps take about \d+ min"):
        fit_plan(WINDOWS, 64, pace, 60.0, 3)


def test_a_pace_is_not_fooled_by_warming_up() -> None:
    assert pace_of((9.0, 2.4, 5.6)) == pytest.approx((0.1, 2.0))
    step, beside = pace_of((9.0, 6.0, 5.6))  # something else ran during the second
    assert step == pytest.approx(0.5 * 5.6 / 36) and beside == pytest.approx(2.8)


def test_durations() -> None:
    assert [parse_minutes(t) for t in ("90s", "30m", "2h", "1.5")] == [90, 1800, 7200, 90]
    for bad in ("soon", "-3m", "0", "3 days"):
        with pytest.raises(JepaflowError, match="no duration"):
            parse_minutes(bad)


def test_equal_steps_and_equal_epochs(config: TrainConfig) -> None:
    windows = training_episodes(config)
    study = density_study(config, Plan((1, 3, 6), 60, 2), windows)
    by_name = {cell.name: cell.config for cell in study.cells}
    assert set(by_name) == {"steps-1", "steps-3", "steps-6", "epochs-1", "epochs-3"} and len(study.cells) == 10
    assert {by_name[f"steps-{n}"].steps for n in (1, 3, 6)} == {60}
    for n in (1, 3):
        assert by_name[f"epochs-{n}"].steps / windows[n - 1] == pytest.approx(60 / windows[5], rel=0.05)


def made(y: float, rng: np.random.Generator) -> Readings:
    """A run whose skill is y on every one of 20 episodes, but for noise that all sizes share."""
    error = np.full((20, 10), 1 - y) + rng.normal(0, 0.05, (20, 10))
    ratio = Ratio(tuple(range(20)), error, np.ones((20, 10)), np.ones((20, 10)))
    scalars = {"verdict": 5.0, "effective_rank": 20.0, "skilful_to": 10.0}
    return Readings({"skill": ratio, "joints_r2": Ratio(ratio.episodes, error[:, :1], *np.ones((2, 20, 1)))}, scalars)


def test_a_known_law_is_told(config: TrainConfig) -> None:
    rng, plan = np.random.default_rng(0), Plan((5, 12, 30, 80, 200), 100, 3)
    law = lambda n: 0.7 - 0.1 * (n / 200) ** -0.6  # noqa: E731
    results = [
        Result(Cell(f"{f}-{n}", replace(config, seed=s)), made(law(n), rng), 1.0, True)
        for s in range(3) for f in ("steps", "epochs") for n in plan.sizes if f == "steps" or n < 200
    ]  # fmt: skip
    growth = gather(results, plan).growths["steps"]["skill@1"]
    gain = growth.quantity("doubling")
    truth = 0.1 * (1 - 2**-0.6)
    assert gain.low <= truth <= gain.high and gain.value == pytest.approx(truth, abs=0.01)
    enough = growth.quantity("enough")
    assert enough.low < 200 * (truth / 0.01) ** (1 / 0.6) < enough.high
    assert growth.held_back is not None
    told, was = growth.held_back
    assert told.value == pytest.approx(was, abs=0.02) and told.low < was < told.high


def test_a_law_that_misses_the_largest_size_says_nothing_of_more(config: TrainConfig) -> None:
    rng, plan = np.random.default_rng(0), Plan((5, 20, 80, 300, 900), 100, 3)
    seen = {5: -1.4, 20: -2.4, 80: -0.7, 300: 0.2, 900: 0.7}  # what skill far ahead did on `reach`
    results = [
        Result(Cell(f"{f}-{n}", replace(config, seed=s)), made(seen[n], rng), 1.0, True)
        for s in range(3) for f in ("steps", "epochs") for n in plan.sizes if f == "steps" or n < 900
    ]  # fmt: skip
    found = gather(results, plan)
    growth = found.growths["steps"]["skill@1"]
    assert not growth.fits
    said = " ".join(density_outcome(found, config, "x", 0.2, 70, 1000).answers)
    assert "the power law misses what was seen" in said and "from 300 to 900 episodes it rose by 0.5" in said


def words(store: Path, folder: Path, *more: str) -> list[str]:
    given = "--dataset.val-fraction 0.34 --preset tiny --block 2 --batch-size 4 --calibration-batches 1 --device cpu"
    places = [f"--output-dir={folder / 'runs'}", f"--results-dir={folder / 'results'}"]
    return ["study", "density", f"--dataset.path={store}", *places, *given.split(), *more]


def test_the_command(tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = ("--sizes", "1", "2", "3", "6", "--steps", "2", "--seeds", "1")
    assert main([*words(store, tmp_path, *grid), "--runs", "3"]) == 0
    assert "3 of 7 runs are known" in capsys.readouterr().out
    folder = tmp_path / "results" / "density"
    assert len((folder / "runs.jsonl").read_text().splitlines()) == 3 and not (folder / "summary.json").exists()
    assert main(words(store, tmp_path, *grid)) == 0
    said = capsys.readouterr().out
    assert "Now, with 6 episodes" in said and "density 7/7" in said
    lines = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    assert len(lines) == 7 and len({line["mark"] for line in lines}) == 7 and lines[0]["setting"] == "steps-1"
    kind, outcome = read_outcome(folder / "summary.json")
    names = {row.name for row in outcome.rows}
    assert kind == "density" and {f"density/s/steps/skill@1/n={n}" for n in (1, 2, 3, 6)} <= names
    assert (
        "density/s/steps/frozen_auroc/n=3" in names
        and "density/s/steps/joints_r2/held_back" in names
        and all(row.note for row in outcome.rows)
    )
    before = (folder / "summary.json").read_bytes()
    assert main(words(store, tmp_path, *grid)) == 0 and (folder / "summary.json").read_bytes() == before
    assert "<img" in (folder / "report.html").read_text()
    pages = tmp_path / "pages"
    assert main(["study", "publish", f"--results-dir={tmp_path / 'results'}", f"--output-dir={pages}"]) == 0
    page = (pages / "density.md").read_text()
    assert "![density](density.png)" in page and "## What it does not say" in page
    assert (pages / "density.png").read_bytes()[:4] == b"\x89PNG" and "(density.md)" in (
        pages / "README.md"
    ).read_text()


def test_a_budget(tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(store, tmp_path, "--budget", "40s", "--seeds", "1", "--runs", "1")) == 0
    said = capsys.readouterr().out
    assert "Calibrating" in said and "seconds" not in said and "min." in said
    plan = json.loads((tmp_path / "runs" / "plan.json").read_text())["plan"]
    assert plan["sizes"][-1] == 6 and plan["steps"] >= 60
    assert main(words(store, tmp_path, "--budget", "40s", "--seeds", "1", "--runs", "1")) == 0
    assert "Calibrating" not in capsys.readouterr().out  # the plan is kept


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--sizes", "1", "2"), "at least three --sizes"),
        (("--sizes", "1", "2", "70"), "asks for 70 training episodes; there are 6"),
        (("--budget", "soon"), "no duration"),
        (("--budget", "30m", "--steps", "7"), "Leave --sizes and --steps out"),
    ],
)
def test_what_cannot_be_studied(
    more: tuple[str, ...], sentence: str, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(store, tmp_path, *more)) == 1 and sentence in capsys.readouterr().err
    assert main(["study", "publish", f"--results-dir={tmp_path}"]) == 1
