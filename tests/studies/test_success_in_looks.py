"""Success in other looks and with films among the training: recordings of a real arm's world, planned in that world."""

import json
import shutil
from pathlib import Path

import pytest

from jepaflow.cli.main import main
from jepaflow.studies.outcome import read_outcome
from jepaflow.studies.success import FLOORS
from tests.training.tiny_run import make_store

SMALL = "--dataset.val-fraction 0.34 --preset tiny --block 5 --batch-size 4 --calibration-batches 1 --steps 2 --device cpu --seeds 1"
LOOKS = {"usual": (), "dark": ("--fix", "light.level=0.1", "table.color=0.2,0.2,0.3")}


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same five episodes in two looks, as stores beside their datasets."""
    root, found = tmp_path_factory.mktemp("looks"), {}
    for name, words in LOOKS.items():
        folder, store = root / name, root / f"{name}.h5"
        what = "--env so101/reach --episodes 5 --image-size 8 --steps 80 84 --mix babble 1.0 --seed 3"
        assert main(["collect", *what.split(), "--output-dir", str(folder), *words]) == 0
        assert main(["convert", str(folder), str(store), "--image-size", "8"]) == 0
        found[name] = store
    return found


def study(tmp_path: Path, *words: str) -> int:
    places = ["--output-dir", str(tmp_path / "runs"), "--results-dir", str(tmp_path / "results")]
    return main(["study", *words, *places, *SMALL.split()])


def test_the_same_trials_in_every_look(looks: dict[str, Path], tmp_path: Path) -> None:
    words = ["--dataset.path", str(looks["usual"]), "--looks", str(looks["usual"]), str(looks["dark"])]
    assert study(tmp_path, "transfer-looks", *words, "--success", "so101/reach_25", "--trials", "3") == 0
    path = tmp_path / "results" / "transfer_looks" / "summary.json"
    _, outcome = read_outcome(path)
    dark, usual = (outcome.row(f"transfer/usual/{look}/success") for look in ("dark", "usual"))
    change = outcome.row("transfer/usual/dark/success_change")
    assert dark is not None and usual is not None and change is not None and dark.n == 3
    assert change.value == pytest.approx(dark.value - usual.value, abs=1e-6)
    assert change.low <= change.value <= change.high
    assert dark.ceilings == {"replay": 1.0} and set(dark.floors) == set(FLOORS) and dark.floors["still"] == 0.0
    assert any("first 3 trials of so101/reach_25" in said for said in outcome.method)
    assert outcome.row("transfer/usual/usual/success_change") is None
    assert outcome.answers[0].startswith("Success ") and "in the usual look (floor" in outcome.answers[0]
    data = [line.split() for line in outcome.command.splitlines()[:-1]]
    assert [line[1] for line in data] == ["collect", "convert"] * 2 and "--fix" not in data[0]
    assert data[2][data[2].index("--fix") :][:3] == list(LOOKS["dark"]) and data[2][2:4] == ["--env", "so101/reach"]
    assert (
        main(["study", "publish", "--results-dir", str(tmp_path / "results"), "--output-dir", str(tmp_path / "p")]) == 0
    )
    page = (tmp_path / "p" / "transfer_looks.md").read_text()
    assert "success in closed loop" in page and "nan" not in page and "not measured" not in page


def test_what_was_changed_must_be_known(
    looks: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(message: str, other: Path, protocol: str = "so101/reach_25") -> None:
        words = ["--dataset.path", str(looks["usual"]), "--looks", str(looks["usual"]), str(other)]
        assert study(tmp_path, "transfer-looks", *words, "--success", protocol) == 1
        assert message in capsys.readouterr().err

    other = tmp_path / "new" / "dark.h5"
    other.parent.mkdir()
    shutil.copy(looks["dark"], other)
    refused("Nothing says what was changed", other)
    elsewhere = tmp_path / "elsewhere.h5"  # beside a dataset of its name that it does not come from
    shutil.copy(looks["dark"], elsewhere)
    shutil.copytree(looks["dark"].with_suffix(""), elsewhere.with_suffix(""))
    refused("Nothing says what was changed", elsewhere)
    refused("the protocol so101/push_25 is of so101/push", looks["dark"], "so101/push_25")
    shutil.copytree(looks["dark"].with_suffix(""), other.with_suffix(""))
    record = other.with_suffix("") / "meta" / "collect.json"
    kept = json.loads(record.read_text())
    for changed, message in (
        ({"vary": ["light.level"]}, "drawn anew in every episode"),
        ({"fix": ["object.place=0.2,0"]}, "object.place changes more than the look"),
    ):
        record.write_text(json.dumps({**kept, **changed}))
        refused(message, other)
    assert not (tmp_path / "runs").exists()


def test_success_beside_films(looks: dict[str, Path], tmp_path: Path) -> None:
    films = make_store(tmp_path / "clips.h5", [40, 44, 48, 52], seed=9)
    words = ["--dataset.path", str(looks["usual"]), "--films", str(films), "--shares", "0", "0.5"]
    assert study(tmp_path, "transfer-films", *words, "--success", "so101/reach_25", "--trials", "2") == 0
    _, outcome = read_outcome(tmp_path / "results" / "transfer_films" / "summary.json")
    reached = outcome.row("transfer/usual/films=0.5/success@1")
    assert reached is not None and reached.n == 2 and reached.ceilings == {"replay": 1.0}
    assert outcome.facts["floors"]["success@1"] == max(reached.floors.values())
