"""Isometry: rank correlations against scipy, known latents, and what a store tells of its scene."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from told_worlds import ARM, frames_of, told_store, trajectories_of, walk

from jepaflow.diagnosis.figures_geometry import draw_isometry
from jepaflow.diagnosis.frames import gather_frames
from jepaflow.diagnosis.isometry import (
    all_distances,
    distances,
    measure_isometry,
    near_pairs,
    random_pairs,
    rank_correlations,
    spearman,
    weighted_spearman,
)
from jepaflow.diagnosis.told import read_told
from jepaflow.diagnosis.untrained import untrained_twin
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0]])
def test_no_order_no_correlation(values: list[float]) -> None:
    x = np.array(values)
    assert np.isnan(spearman(x, np.arange(len(x), dtype=np.float64)))


def test_spearman_is_scipys_ties_and_all() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 20, 300).astype(np.float64)
    b = a + rng.normal(0, 6, 300)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_a_weight_is_a_number_of_copies() -> None:
    rng = np.random.default_rng(0)
    a, b, weight = rng.normal(size=80), rng.normal(size=80), rng.integers(0, 4, 80)
    copied = spearmanr(np.repeat(a, weight), np.repeat(b, weight)).statistic
    assert weighted_spearman(a, b, [weight.astype(np.float64)])[0] == pytest.approx(copied, abs=1e-12)


def test_a_rotated_and_scaled_state_is_isometric_and_noise_is_not() -> None:
    state = walk(6, 40, 3)
    q, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    noise = [np.random.default_rng(e).normal(size=(40, 8)) for e in range(6)]
    found = measure_isometry(frames_of([5 * s @ q for s in state], {"tcp": state}, noise), draws=50)
    assert found is not None
    assert {(a.what, a.pairs) for a in found.of} == {("", "near"), ("", "order"), ("", "near_within"), ("", "all")}
    for one in found.of:
        assert one.estimate.value == pytest.approx(1) and one.estimate.low == pytest.approx(1)
        assert abs(one.floors["pixels"]) < 0.25
    assert found.get("all").floors["time"] < 0.9
    rows = found.rows("toy")
    assert [r.name.removeprefix("toy/isometry_") for r in rows] == ["near", "all", "near_within", "order"]
    assert rows[0].floors.keys() == {"pixels", "time"}


def test_a_latent_that_holds_one_thing_follows_that_one() -> None:
    tcp, cube = walk(6, 40, 3, 0), walk(6, 40, 3, 1)
    found = measure_isometry(frames_of(tcp, {"tcp": tcp, "cube": cube}), draws=50)
    assert found is not None
    assert found.get("near", "tcp").estimate.value == pytest.approx(1)
    assert abs(found.get("near", "cube").estimate.value) < 0.3
    assert 0.1 < found.get("near").estimate.value < 0.95
    assert draw_isometry(found).startswith(b"\x89PNG")


def test_the_interval_holds_the_value_and_narrows_with_episodes() -> None:
    def width(episodes: int) -> float:
        state = walk(episodes, 20, 2)
        rng = np.random.default_rng(3)
        found = measure_isometry(frames_of([s + rng.normal(0, 2, s.shape) for s in state], {"a": state}), draws=200)
        assert found is not None
        estimate = found.get("all").estimate
        assert estimate.low < estimate.value < estimate.high and estimate.episodes == episodes
        return estimate.high - estimate.low

    assert width(40) < width(5)


def test_nothing_to_compare() -> None:
    state = walk(3, 10, 2)
    assert measure_isometry(frames_of(state, None)) is None
    assert measure_isometry(frames_of(state[:1], {"a": state[:1]})) is None
    still = measure_isometry(frames_of([np.zeros((4, 2))] * 2, {"a": [np.zeros((4, 2))] * 2}))
    assert still is not None and np.isnan(still.get("all").estimate.value) and still.rows("x") == []


def test_single_frames_an_episode_have_no_pair_within() -> None:
    state = walk(5, 1, 2)
    found = measure_isometry(frames_of(state, {"a": state}), draws=10)
    assert found is not None
    assert found.get("near_within").estimate.n == 0 and found.get("near").estimate.value == pytest.approx(1)


def test_order_does_not_care_how_dense_a_place_is() -> None:
    """Two places, one ten times as dense: knowing which one orders pooled near pairs, and no frame's own nearest."""
    rng = np.random.default_rng(0)
    scale = np.repeat([0.1, 1.0], 20)[:, None]
    state = [scale * rng.normal(size=(40, 2)) + 50 * scale for _ in range(6)]
    z = [scale * rng.normal(size=(40, 8)) for _ in range(6)]
    found = measure_isometry(frames_of(z, {"a": state}), draws=50)
    assert found is not None
    assert found.get("near").estimate.value > 0.6 and abs(found.get("order").estimate.value) < 0.1


def test_row_correlations_are_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (20, 7)).astype(np.float64), rng.normal(size=(20, 7))
    wanted = [spearmanr(x, y).statistic for x, y in zip(a, b)]
    np.testing.assert_allclose(rank_correlations(a, b), wanted, atol=1e-12)
    assert np.isnan(rank_correlations(np.ones((1, 4)), b[:1, :4])).all()
    assert np.isnan(rank_correlations(a[:, :2], b[:, :2])).all()


def test_near_pairs_are_the_brute_force_ones() -> None:
    state = np.concatenate(walk(4, 7, 2))
    episode = np.repeat(np.arange(4), 7)
    for within in (False, True):
        wanted = set()
        for i in range(28):
            others = [j for j in range(28) if j != i and (episode[j] == episode[i]) == within]
            others.sort(key=lambda j: float(np.linalg.norm(state[i] - state[j])))
            wanted |= {(min(i, j), max(i, j)) for j in others[:3]}
        assert {tuple(p) for p in near_pairs(state, episode, 3, within).tolist()} == wanted


def test_pairs_and_distances() -> None:
    assert len(random_pairs(1, 10, np.random.default_rng(0))) == 0
    assert len(random_pairs(5, 10, np.random.default_rng(0))) == 10
    many = random_pairs(50, 100, np.random.default_rng(0))
    assert len(many) == 100 and (many[:, 0] != many[:, 1]).all()
    x = np.random.default_rng(0).normal(size=(50, 3)) + 100
    np.testing.assert_allclose(distances(x, many), all_distances(x)[many[:, 0], many[:, 1]], atol=1e-9)


def test_what_a_store_tells(tmp_path: Path) -> None:
    rows = np.arange(3)
    arm = told_store(tmp_path / "arm.h5", [6, 6])
    told = read_told(arm, rows)
    assert told is not None and told.unit == "cm" and list(told.things) == ["tcp", "cube0"]
    np.testing.assert_allclose(told.things["cube0"], 100 * arm.read("state", rows)[:, 3:6], rtol=1e-6)
    assert list(told.shown) == ["cube0 x, cm", "cube0 y, cm"] and told.together.shape == (3, 6)
    rooms = read_told(told_store(tmp_path / "r.h5", [6], ("agent_x", "agent_y", "target_x", "target_y"), "px"), rows)
    assert rooms is not None and rooms.unit == "px" and list(rooms.parts()) == [""]
    turns = ("shoulder", "wrist", "shoulder_velocity", "wrist_velocity")
    reacher = read_told(told_store(tmp_path / "reacher.h5", [6], turns, "rad, rad/s"), rows)
    assert reacher is not None and reacher.unit == "rad"
    np.testing.assert_allclose(np.linalg.norm(reacher.things["wrist"], axis=1), 1)
    real = read_told(told_store(tmp_path / "real.h5", [6], ("j0", "j1", "j2"), "unknown"), np.arange(6))
    assert real is not None and real.unit == "SD"
    np.testing.assert_allclose(real.things["joints"].std(0), 1)


def test_frames_are_read_where_they_lie(tmp_path: Path) -> None:
    store = told_store(tmp_path / "s.h5", [9, 6, 1], ARM)
    latents = [np.random.default_rng(e).normal(size=(-(-n // 2), 4)) for e, n in enumerate((9, 6, 1))]
    frames = gather_frames(trajectories_of(latents), store, ("pixels",))
    assert frames.row.tolist() == [0, 2, 4, 6, 8, 9, 11, 13, 15] and frames.block == 2
    assert frames.when.tolist() == [0, 0.25, 0.5, 0.75, 1, 0, 0.5, 1, 0]
    assert frames.pixels.shape == (9, 16 * 16 * 3) and frames.untrained is None
    direct = store.pixels(frames.row, ("pixels",))[3, 0].astype(np.float64) / 255
    by_hand = direct.reshape(16, 2, 16, 2, 3).mean((1, 3))
    np.testing.assert_allclose(frames.pixels[3].reshape(3, 16, 16), by_hand.transpose(2, 0, 1), atol=1e-6)
    assert frames.kinds is not None and frames.kinds.labels == ("push it", "pull it")
    few = gather_frames(trajectories_of(latents), store, ("pixels",), limit=4)
    assert len(few.z) == 4 and few.row[0] == 0 and few.row[-1] == 15


def test_the_untrained_twin_keeps_scalers_only(tmp_path: Path) -> None:
    model = JEPA(JEPAConfig(image_size=32, latent_dim=8)).eval()
    model.action_scaler.mean.fill_(3.0)
    before = model.encoder.state_dict()
    twin, again = untrained_twin(model, 1), untrained_twin(model, 1)
    assert float(twin.action_scaler.mean[0]) == 3.0
    own, other, third = (next(iter(m.encoder.parameters())) for m in (model, twin, again))
    assert not bool((own == other).all()) and bool((other == third).all())
    assert model.encoder.state_dict().keys() == before.keys()
    store = told_store(tmp_path / "s.h5", [9, 6])
    frames = gather_frames(trajectories_of(walk(1, 5, 8) + walk(1, 3, 8)), store, ("pixels",), model)
    assert frames.untrained is not None and frames.untrained.shape == (8, 8)
