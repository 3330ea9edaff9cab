"""Runs side by side: what may be called best, what is sure, and the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diagnosis_runs import LENGTHS, QUICK, errors_of, make_run
from diagnosis_worlds import write_store
from test_report import read

from jepaflow.cli.diagnose import Args, run
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.diagnosis.compare import cautions, paired_differences
from jepaflow.diagnosis.measure import Options, diagnose_run
from jepaflow.diagnosis.ranking import beats_floors, best, direction, own_name


def row(name: str, low: float, high: float, **floors: float) -> Row:
    return Row(name, (low + high) / 2, low, high, 9, floors=floors)


@pytest.mark.parametrize(
    ("name", "bounds", "winner"),
    [
        ("skill@1", [(0.1, 0.2), (0.3, 0.4)], 1),
        ("skill@1", [(0.1, 0.3), (0.3, 0.4)], None),  # they touch
        ("skill@1", [(0.1, 0.2), (0.3, 0.4), (0.35, 0.5)], None),  # best value, not clear of the second
        ("skill@1", [(0.6, 0.7), None, (0.35, 0.5)], 0),
        ("skill@1", [(0.6, 0.7), None], None),  # alone
        ("skill@1", [], None),
        ("probe/object/linear/mse", [(0.1, 0.2), (0.3, 0.4)], 0),
        ("neighbours/cube0", [(1.0, 2.0), (3.0, 4.0)], 0),
        ("effective_rank", [(1.0, 2.0), (30.0, 40.0)], None),  # neither side is better
        ("skill_shuffled@3", [(0.1, 0.2), (0.3, 0.4)], None),
        ("surprise/colour/auroc", [(0.1, 0.2), (0.3, 0.4)], None),  # a control
        ("surprise/teleport/auroc", [(0.1, 0.2), (0.3, 0.4)], 1),
        ("slip/open_loop_belief", [(0.1, 0.2), (0.3, 0.4)], 0),  # to believe what is no longer so
    ],
)
def test_best_only_where_intervals_lie_apart(
    name: str, bounds: list[tuple[float, float] | None], winner: int | None
) -> None:
    assert best([None if b is None else row(name, *b) for b in bounds]) == winner


def test_floors_are_beaten_by_the_whole_interval_or_not() -> None:
    assert beats_floors(row("skill@1", 0.1, 0.2, copy_last=0.0, shuffled=0.05)) is True
    assert beats_floors(row("skill@1", 0.1, 0.2, copy_last=0.0, shuffled=0.1)) is False
    assert beats_floors(row("probe/x/mlp/mse", 0.1, 0.2, mean=1.0, pixels=0.3)) is True
    assert beats_floors(row("probe/x/mlp/mse", 0.1, 0.2, mean=1.0, pixels=0.15)) is False
    assert (
        beats_floors(row("skill@1", 0.1, 0.2)) is None and beats_floors(row("straightness", 0.0, 1.0, walk=0.0)) is None
    )


def test_where_there_is_no_interval_nothing_is_sure() -> None:
    alone = Row(
        "skill@50", 0.5, 0.5, 0.5, 9, floors={"copy_last": 0.0}, note="one episode; no interval: a single episode"
    )
    assert beats_floors(alone) is None and best([alone, row("skill@50", 0.1, 0.2)]) is None
    perfect = Row("surprise/float/auroc", 1.0, 1.0, 1.0, 9, floors={"pixels": 0.5})
    assert beats_floors(perfect) is True


def test_names_without_their_run() -> None:
    assert own_name("so101/pick/probe/object/linear/r") == "probe/object/linear/r"
    assert own_name("decoder/psnr") == "decoder/psnr" and own_name("skill@1") == "skill@1"
    assert direction(row("so101/probe/object/linear/mse", 0.0, 1.0)) == "lower"


def test_a_run_beside_itself_differs_by_nothing(tmp_path: Path) -> None:
    store = write_store(tmp_path / "push.h5", LENGTHS)
    a, b = (
        diagnose_run(make_run(tmp_path / name, store, seed), options=Options(draws=20, skip=QUICK))
        for name, seed in (("a", 0), ("b", 1))
    )
    same, other = paired_differences([a, a, b], draws=300)
    assert set(same) == {1, 5, 10}
    assert all((e.value, e.low, e.high) == (0, 0, 0) for e in same.values())
    assert other[1].value == pytest.approx(b.forecast.skill[0].value - a.forecast.skill[0].value)
    assert other[1].low <= other[1].value <= other[1].high
    assert cautions(["a", "b"], [a, b]) == []


def test_the_luck_of_the_episodes_falls_out_of_a_paired_difference(tmp_path: Path) -> None:
    """Two models that share every episode's luck: their own intervals are wide, their difference is not."""
    store = write_store(tmp_path / "push.h5", LENGTHS)
    a = diagnose_run(make_run(tmp_path / "a", store), options=Options(draws=20, skip=QUICK))
    rng = np.random.default_rng(0)
    luck = rng.uniform(0.1, 0.9, (20, 1)) * np.ones((1, 10))
    plain, better = (replace(a, errors=errors_of(model, np.ones_like(luck))) for model in (luck, luck - 0.05))
    (difference,) = paired_differences([plain, better])
    assert difference[1].value == pytest.approx(0.05) and difference[1].high - difference[1].low < 1e-9


def test_runs_of_different_settings_stand_side_by_side(tmp_path: Path) -> None:
    store = write_store(tmp_path / "push.h5", LENGTHS)
    runs = (
        make_run(tmp_path / "one" / "a", store),
        make_run(tmp_path / "two" / "a", store, val=[0, 1, 3], latent_dim=4, block=3),
    )
    out = tmp_path / "rows.json"
    assert run(Args(runs, skip=QUICK, draws=50, compare=True, json=out)) == 0
    folder = runs[0] / "diagnosis" / "compare"
    _, page = read(folder / "report.html")
    assert {p.name for p in folder.iterdir()} == {"report.html", "metrics.json", "compare.png"}
    figures = json.loads((folder / "metrics.json").read_text())
    assert set(figures["runs"]) == {"0_a", "1_a"}
    for known in figures["runs"].values():
        assert known["verdict"]["sentence"] in page.words
    assert len(figures["cautions"]) == 2  # other episodes, other model steps
    assert all(caution in page.words for caution in figures["cautions"])
    assert figures["paired_skill_difference_to_first"] == {"1_a": {}} and "Is the difference sure?" not in page.words
    assert "--compare" in figures["command"] and figures["command"] in page.words
    names = {one["name"] for one in json.loads(out.read_text())["rows"]}
    assert {"0_a/skill@1", "1_a/skill@1", "0_a/effective_rank"} <= names
    assert all((one / "diagnosis" / "report.html").is_file() for one in runs)


def test_a_comparison_wants_two(tmp_path: Path) -> None:
    with pytest.raises(JepaflowError, match="at least two runs"):
        run(Args((tmp_path,), compare=True))
