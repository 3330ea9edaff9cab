"""The foundation: atomic files, intervals against textbook values, results in one shape."""

import json
from pathlib import Path

import numpy as np
import pytest

from jepaflow.cli.main import main
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path, read_json, write_json
from jepaflow.common.intervals import bootstrap, wilson
from jepaflow.common.results import Row, write_results

RESULTS = Path(__file__).resolve().parents[1] / "results"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a" / "x.json"
    write_json(target, {"v": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(target) == {"v": 1} and [p.name for p in target.parent.iterdir()] == ["x.json"]
    with pytest.raises(ValueError):
        write_json(target, float("nan"))
    target.write_text("{")
    with pytest.raises(JepaflowError, match="cannot be read as JSON"):
        read_json(target)
    with pytest.raises(JepaflowError, match="Choose another place"), atomic_path(target / "below" / "y") as temporary:
        pass


def test_wilson_against_the_textbook() -> None:
    """Newcombe 1998, table I: 81/263 → .2553 – .3662; 0/20 → 0 – .1611; 1/29 → .0061 – .1718."""
    for successes, n, low, high in ((81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):
        assert wilson(successes, n) == pytest.approx((low, high), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_bootstrap_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).standard_normal(400)
    low, high = bootstrap(values, lambda x: float(x.mean()), draws=2000)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)
    assert bootstrap(np.ones(1), lambda x: float(x.mean())) == (1.0, 1.0)


def test_results_keep_other_rows_and_refuse_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_results(path, "first", [Row("a", 1.0, 0.0, 2.0, 5), Row("b", 1.0, 0.0, 2.0, 5)])
    write_results(path, "second", [Row("b", 3.0, 2.0, 4.0, 5)], keep=True)
    got = read_json(path)
    assert [(r["name"], r["value"]) for r in got["rows"]] == [("a", 1), ("b", 3)]
    assert got["rows"][0]["command"] == "first" and got["command"] == "second"
    with pytest.raises(JepaflowError, match="not finite"):
        Row("c", float("nan"), 0.0, 1.0, 1)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda p: p.name)
def test_published_results_have_the_one_shape(path: Path) -> None:
    got = json.loads(path.read_text())
    assert {"command", "commit", "date", "hardware", "versions", "rows"} <= set(got) and got["rows"]
    for row in got["rows"]:
        assert {"name", "value", "low", "high", "n", "seeds", "unit", "floors", "ceilings", "note"} <= set(row), row
        assert row["low"] <= row["value"] <= row["high"] and row["n"] > 0, row["name"]


def test_the_command_line_fails_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2 and main(["--help"]) == 0
    assert main(["fly"]) == 2
    assert main(["train", "--dataset.path", str(tmp_path / "none.h5"), "--output-dir", str(tmp_path / "run")]) == 1
    complaint = capsys.readouterr().err.strip().splitlines()[-1]
    assert complaint.startswith("jepaflow: ") and "none.h5 does not exist" in complaint
    assert not (tmp_path / "run").exists()
    assert main(["train", "--output-dir", str(tmp_path / "run"), "--steps", "0"]) == 2
    assert "--steps is 0" in capsys.readouterr().err
