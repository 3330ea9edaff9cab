"""Cells are run once, measured once, and a death costs one of them at most."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.studies import runner
from jepaflow.studies.cells import Cell, Result, Study, steps_of
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.marks import cell_mark, store_mark
from jepaflow.studies.readings import Ratio, Readings, pool, pool_gain, pool_scalar, sum_by_episode
from jepaflow.studies.runner import run_study
from jepaflow.training.config import DatasetConfig, TrainConfig
from jepaflow.training.objective import ObjectiveConfig
from tests.training.tiny_run import make_store


@dataclass(frozen=True)
class Depth:
    """A measure that costs nothing."""

    factor: float = 1.0
    name: str = "depth"

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"factor": self.factor}

    def __call__(self, evidence: Evidence) -> Readings:
        return Readings(scalars={"depth": self.factor * evidence.run.step, "nothing": float("nan")})


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were trained, as it happens."""
    seen, real = [], runner.train

    def watched(config: TrainConfig, folder: Path, resume: bool = False) -> object:
        seen.append(folder)
        return real(config, folder, resume=resume)

    monkeypatch.setattr(runner, "train", watched)
    return seen


def study(config: TrainConfig, factor: float = 1.0) -> Study:
    cells = tuple(Cell(name, replace(config, loss=ObjectiveConfig(sigreg=w))) for name, w in (("a", 0.0), ("b", 0.1)))
    return Study("letters", cells, (Depth(factor),))


def test_a_finished_study_is_not_run_again(config: TrainConfig, tmp_path: Path, trained: list[Path]) -> None:
    first = run_study(study(config), tmp_path)
    again = run_study(study(config), tmp_path)
    assert len(trained) == 2 and [r.fresh for r in first + again] == [True, True, False, False]
    assert [r.readings.scalars for r in again] == [{"depth": 2.0, "nothing": None}] * 2
    assert again[0].minutes is not None and again[0].minutes > 0


def test_a_new_measure_trains_nothing(config: TrainConfig, tmp_path: Path, trained: list[Path]) -> None:
    run_study(study(config), tmp_path)
    again = run_study(study(config, factor=3.0), tmp_path)
    assert len(trained) == 2 and all(r.fresh and r.readings.scalars["depth"] == 6.0 for r in again)


def test_a_death_costs_the_cell_in_flight(config: TrainConfig, tmp_path: Path, trained: list[Path]) -> None:
    def dying(job: object, cells: Sequence[Cell]) -> list[Result]:
        job(cells[0])  # type: ignore[operator]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study(config), tmp_path, dying)
    results = run_study(study(config), tmp_path)
    assert [path.name[0] for path in trained] == ["a", "b"] and [r.fresh for r in results] == [False, True]
    # And one that dies in its training, before its first checkpoint.
    half = trained[1]
    (half / "cell.json").unlink()
    shutil.rmtree(half / "checkpoints")
    third = run_study(study(config), tmp_path)
    assert len(trained) == 3 and trained[2] == half and third[1].readings == results[1].readings
    assert third[1].minutes is None  # begun before: how long it took in all is not known


def test_a_damaged_record_is_one_sentence(config: TrainConfig, tmp_path: Path, trained: list[Path]) -> None:
    run_study(study(config), tmp_path)
    record = trained[1] / "cell.json"
    known = json.loads(record.read_text())
    for text in (record.read_text()[:40], "[]", json.dumps({**known, "measures": {"depth": {"settings": {}}}})):
        record.write_text(text)
        with pytest.raises(JepaflowError, match=r"Cell b, seed 0 .*cell.json is damaged. Delete that file"):
            run_study(study(config), tmp_path)
    record.unlink()
    assert [r.fresh for r in run_study(study(config), tmp_path)] == [False, True] and len(trained) == 2


def test_a_failing_cell_is_named(config: TrainConfig, tmp_path: Path) -> None:
    bad = Study("bad", (Cell("blind", replace(config, cameras=("pixels", "nowhere"))),), (Depth(),))
    with pytest.raises(JepaflowError, match=r"Cell blind, seed 0 .* has no camera 'nowhere'"):
        run_study(bad, tmp_path)


def test_marks_tell_what_is_learnt(config: TrainConfig, tmp_path: Path, store: Path) -> None:
    mark = cell_mark(config, ("x",))
    moved = replace(config, dataset=replace(config.dataset, path=(tmp_path / "elsewhere.h5",)), save_every=7)
    assert cell_mark(moved, ("x",)) == mark
    others = [replace(config, seed=1), replace(config, loss=ObjectiveConfig(sigreg=1.0)), replace(config, steps=3)]
    others.append(replace(config, dataset=DatasetConfig(config.dataset.path, 0.34, episodes=5)))
    assert len({mark, cell_mark(config, ("y",)), *(cell_mark(one, ("x",)) for one in others)}) == 6
    copy = shutil.copy(store, tmp_path / "copy.h5")
    assert store_mark(Path(copy)) == store_mark(store)
    assert store_mark(make_store(tmp_path / "other.h5", [26, 34], seed=5)) != store_mark(store)


def test_equal_frames(config: TrainConfig) -> None:
    assert steps_of(config, 33).steps == 2 and steps_of(config, 33).save_every == 2
    with pytest.raises(JepaflowError, match="less than one step of 16 frames"):
        steps_of(config, 15)


def test_studies_refuse_nonsense(config: TrainConfig) -> None:
    with pytest.raises(JepaflowError, match="part of a folder"):
        Cell("a/b", config)
    with pytest.raises(JepaflowError, match="twice"):
        Study("s", (Cell("a", config), Cell("a", config)), (Depth(),))
    with pytest.raises(JepaflowError, match="no cell"):
        Study("s", (), (Depth(),))


def made(rng: np.random.Generator, episodes: int = 6) -> Ratio:
    sums = rng.uniform(0.5, 2.0, (3, episodes, 2))
    return Ratio(tuple(range(episodes)), *sums)


def test_seeds_are_pooled() -> None:
    rng = np.random.default_rng(0)
    one, other = made(rng), made(rng)
    estimates = pool([one, other], draws=200)
    for h, estimate in enumerate(estimates):
        each = [1 - r.error[:, h].sum() / r.reference[:, h].sum() for r in (one, other)]
        assert estimate.value == pytest.approx(np.mean(each)) and estimate.low < estimate.value < estimate.high
    assert all(e.value == e.low == e.high == 0 for e in pool_gain([one, other], [one, other], draws=50))
    assert np.isnan(pool([made(rng, episodes=1)], draws=50)[0].low)
    found = pool_scalar([1.0, None, 4.0])
    assert found is not None and (found.value, found.low, found.high, found.n) == (2.5, 1.0, 4.0, 2)
    assert pool_scalar([None, float("nan")]) is None


def test_windows_become_sums_and_json() -> None:
    error, reference = np.array([[1.0, 2.0], [3.0, 5.0], [7.0, 0.0]]), np.full((3, 2), 10.0)
    real, episode = np.array([[True, True], [True, True], [True, False]]), np.array([4, 4, 9])
    ratio = sum_by_episode(error, reference, real, episode)
    assert (
        ratio.episodes == (4, 9)
        and ratio.error.tolist() == [[4, 7], [7, 0]]
        and ratio.count.tolist() == [[2, 2], [1, 0]]
    )
    assert ratio.values() == pytest.approx([1 - 11 / 30, 1 - 7 / 20])
    again = Readings.from_json(json.loads(json.dumps(Readings({"a": ratio}, {"b": 1.0}).as_json())))
    assert again.ratios["a"].error.tolist() == ratio.error.tolist() and again.scalars == {"b": 1.0}


def test_tiny_errors_of_collapsed_latents_survive_their_file() -> None:
    tiny = Ratio((0, 1), *np.array([[[1e-11], [3e-11]], [[2e-11], [6e-11]], [[1.0], [1.0]]]))
    assert Ratio.from_json(json.loads(json.dumps(tiny.as_json()))).values() == pytest.approx([0.5])
