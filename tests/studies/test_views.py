"""Stores with something wrong, disturbed cameras, and the studies of views and of blindness from a command to a page."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from jepaflow.cli.main import main
from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.studies.blindness import Ill, Symptom, name_causes
from jepaflow.studies.cells import Cell, Result
from jepaflow.studies.disturbed import DisturbedStore
from jepaflow.studies.outcome import read_outcome
from jepaflow.studies.readings import Ratio, Readings
from jepaflow.studies.slices import in_pieces, mispaired
from jepaflow.studies.views import gather
from jepaflow.studies.views_page import draw_views, views_outcome
from jepaflow.training.config import TrainConfig
from jepaflow.worldmodel.presets import PRESETS

SMALL = "--dataset.val-fraction 0.34 --preset tiny --block 1 --batch-size 4 --calibration-batches 1 --steps 2 --device cpu --seeds 1"


@pytest.fixture(scope="session")
def two_views(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same store with a second camera, which sees the first one's picture upside down."""
    path = tmp_path_factory.mktemp("views") / "two.h5"
    with h5py.File(store) as old, h5py.File(path, "w") as new:
        for name in old:
            old.copy(name, new)
        new["pixels_phone"] = old["pixels"][:][:, ::-1]
        new.attrs.update(old.attrs)
        new.attrs["jepaflow"] = old.attrs["jepaflow"].replace(
            f'"cameras": ["{Store(store).cameras[0]}"]', '"cameras": ["pixels", "phone"]'
        )
    return path


def test_frames_with_the_actions_of_another_episode(store: Path, tmp_path: Path) -> None:
    old, new = Store(store), Store(mispaired(store, tmp_path))
    assert new.ep_len.tolist() == old.ep_len.tolist() and mispaired(store, tmp_path) == new.path
    for episode in range(old.num_episodes):
        rows = old.episode_rows(episode)
        np.testing.assert_array_equal(new.pixels(rows, ("pixels",)), old.pixels(rows, ("pixels",)))
        told = new.read("action", rows)
        own = [np.array_equal(told[:20], old.read("action", old.episode_rows(e)[:20])) for e in range(old.num_episodes)]
        assert sum(own) == 1 and not own[episode]


def test_pieces_of_episodes(store: Path, tmp_path: Path) -> None:
    old, new = Store(store), Store(in_pieces(store, tmp_path, (1, 4), 13, 13))
    assert new.ep_len.tolist() == [13] * 4  # of 34 and 32 frames
    rows = old.episode_rows(4)[13:26]
    np.testing.assert_array_equal(new.pixels(new.episode_rows(3), ("pixels",)), old.pixels(rows, ("pixels",)))
    np.testing.assert_array_equal(new.read("action", new.episode_rows(3)), old.read("action", rows))
    with pytest.raises(JepaflowError, match="no two pieces of 40"):
        in_pieces(store, tmp_path, (1,), 40, 4)
    near = Store(in_pieces(store, tmp_path, (1,), 20, 5))
    assert near.num_episodes == 3  # of 34 frames
    rows = old.episode_rows(1)[10:30]
    np.testing.assert_array_equal(near.read("action", near.episode_rows(2)), old.read("action", rows))


def test_one_camera_is_disturbed_and_the_other_is_not(two_views: Path) -> None:
    store, cameras = Store(two_views), ("pixels", "phone")
    rows = store.episode_rows(2)
    clean = store.pixels(rows, cameras)
    black = np.zeros((store.image_size, store.image_size, 3), np.uint8)
    lost = DisturbedStore(store, 0, black).pixels(rows, cameras)
    assert not lost[:, 0].any() and (lost[:, 1] == clean[:, 1]).all()
    late = DisturbedStore(store, 1, late=2).pixels(rows, cameras)
    assert (
        (late[2:, 1] == clean[:-2, 1]).all()
        and (late[:2, 1] == clean[0, 1]).all()
        and (late[:, 0] == clean[:, 0]).all()
    )
    moved = DisturbedStore(store, 1, moved=3).pixels(rows, cameras)
    assert (moved[:, 1, 3:, 3:] == clean[:, 1, :-3, :-3]).all() and (moved[:, 1, 0, 0] == clean[:, 1, 0, 0]).all()
    assert (store.pixels(rows, cameras) == clean).all()


def test_the_study_of_views(
    two_views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = PRESETS["tiny"]
    monkeypatch.setitem(PRESETS, "tiny_fused", replace(tiny, encoder=replace(tiny.encoder, fusion="shared")))
    places = [f"--output-dir={tmp_path / 'runs'}", f"--results-dir={tmp_path / 'results'}"]
    assert main(["study", "views", f"--dataset.path={two_views}", *places, *SMALL.split()]) == 0
    assert "views 4/4" in capsys.readouterr().out
    _, outcome = read_outcome(tmp_path / "results" / "views" / "summary.json")
    names = {row.name: row for row in outcome.rows}
    for model in ("pixels", "phone", "stacked", "fused"):
        assert f"views/two/{model}/skill@1" in names and f"views/two/{model}/seed_deviation" not in names
    for way in ("lost_phone_black", "lost_pixels_mean", "late_5", "moved_phone_6"):
        assert f"views/two/stacked/{way}_skill@5" in names and f"views/two/fused/{way}_agreement" in names
    assert "views/two/pixels/moved_pixels_2_skill@1" in names and "views/two/pixels/late_1_skill@1" not in names
    assert names["views/two/fused/between_agreement"].value < 1
    assert main(["study", "views", f"--dataset.path={two_views}", *places, *SMALL.split(), "--cameras", "pixels"]) == 1
    assert "name two with --cameras" in capsys.readouterr().err


def seen_by(success: float, seed: int) -> Readings:
    """One run that reached so many of ten goals."""
    rng, many = np.random.default_rng(seed), tuple(range(10))
    foretold = Ratio(many, 0.3 + 0.1 * rng.random((10, 10)), np.ones((10, 10)), np.ones((10, 10)))
    failed = (np.arange(10) >= 10 * success).astype(float)[:, None]
    closed = Ratio(many, failed, np.ones((10, 1)), np.ones((10, 1)))
    ways = {
        f"{name}_{what}": foretold
        for name in ("undisturbed", "lost_a_mean", "lost_b_mean", "late_1", "moved_a_2")
        for what in ("skill", "agreement")
    }
    scalars = {
        "effective_rank": 9.0,
        "verdict": 0.0,
        "success_random": 0.1,
        "success_still": 0.2,
        "success_replay": 1.0,
    }
    return Readings({"skill": foretold, "success": closed, "between_agreement": foretold, **ways}, scalars)


def test_success_in_closed_loop_is_told_beside_its_floors(store: Path) -> None:
    config = TrainConfig(cameras=("a", "b"), steps=20)
    rates = {"a": (0.2, 0.4, 0.6), "b": (0.5, 0.5, 0.5), "stacked": (0.8, 0.9, 1.0)}
    results = [
        Result(Cell(name, replace(config, seed=seed)), seen_by(rate, seed), 1.0, True)
        for name, each in rates.items()
        for seed, rate in enumerate(each)
    ]
    outcome = views_outcome(gather(results, ("a", "b")), config, Store(store), 3, 3)
    row = outcome.row(f"views/{store.stem}/stacked/success@1")
    assert (
        row is not None
        and row.value == pytest.approx(0.9)
        and row.floors == pytest.approx({"random": 0.1, "still": 0.2})
    )
    spread = outcome.row(f"views/{store.stem}/a/seed_deviation_success")
    assert spread is not None and spread.value == pytest.approx(0.2)
    assert any("Success in closed loop" in said and "stacked 0.90" in said for said in outcome.answers)
    assert "success" in outcome.tables[0].heads and not any("not measured" in limit for limit in outcome.limits)
    assert draw_views(outcome)["views"][:4] == b"\x89PNG"


def ill(name: str, *seeds: float) -> Ill:
    return Ill(name, {"a": seeds, "b": tuple(-s for s in seeds)}, {}, (), ())


def test_causes_are_named_by_their_nearest_other_runs() -> None:
    symptoms = (Symptom("a", "a"), Symptom("b", "b"))
    apart = [ill("healthy", 0.0, 0.1, 0.2), ill("few", 5.0, 5.1, 5.2)]
    assert name_causes(apart, symptoms) == {"healthy": ("healthy",) * 3, "few": ("few",) * 3}
    mixed = [ill("healthy", 0.0, 0.1, 5.0), ill("few", 5.0, 5.1, 0.1)]
    found = name_causes(mixed, symptoms)
    assert found["healthy"][2] == "few" and found["few"][2] == "healthy"


def test_the_post_mortem(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("jepaflow.studies.blindness.FEW", 5)
    monkeypatch.setattr("jepaflow.studies.blindness.PIECE", 12)
    places = [f"--output-dir={tmp_path / 'runs'}", f"--results-dir={tmp_path / 'results'}"]
    assert (
        main(
            [
                "study",
                "blindness",
                f"--dataset.path={store}",
                *places,
                *SMALL.split(),
                "--causes",
                "few",
                "leaky",
                "--seeds",
                "2",
            ]
        )
        == 0
    )
    assert "blindness 6/6" in capsys.readouterr().out
    kind, outcome = read_outcome(tmp_path / "results" / "blindness" / "summary.json")
    row = outcome.row("blindness/s/named")
    assert kind == "blindness" and row is not None and row.n == 6 and row.floors == {"chance": pytest.approx(1 / 3)}
    assert outcome.row("blindness/s/leaky/skill@1-fresh_skill@1") is not None
    assert (
        main(["study", "publish", f"--results-dir={tmp_path / 'results'}", f"--output-dir={tmp_path / 'pages'}"]) == 0
    )
    assert "![blindness](blindness.png)" in (tmp_path / "pages" / "blindness.md").read_text()
    assert main(["study", "blindness", f"--dataset.path={store}", *places, *SMALL.split(), "--causes", "bad_luck"]) == 1
    assert "no cause 'bad_luck'" in capsys.readouterr().err
