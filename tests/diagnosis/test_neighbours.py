"""Nearest latents of other episodes, against brute force and in worlds whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
from told_worlds import frames_of, told_store, walk

from jepaflow.diagnosis.figures_geometry import draw_neighbours
from jepaflow.diagnosis.neighbours import choose_queries, find_neighbours


def test_perfect_latents_reach_the_ceiling(tmp_path: Path) -> None:
    state = walk(5, 12, 2)
    noise = [np.random.default_rng(9 + e).normal(size=(12, 6)) for e in range(5)]
    store = told_store(tmp_path / "s.h5", [12] * 5)
    found = find_neighbours(frames_of([3 * s for s in state], {"tcp": state}, noise), store, ("pixels",), draws=200)
    assert found is not None
    one = found.distances[0]
    assert one.estimate.value == pytest.approx(one.ceilings["nearest_in_state"])
    assert one.estimate.low <= one.estimate.value <= one.estimate.high and one.estimate.n == 60
    assert one.floors["pixels"] > 1.5 * one.estimate.value and one.floors["random"] > 1.5 * one.estimate.value
    together, episode = np.concatenate(state), np.repeat(np.arange(5), 12)
    gaps = np.linalg.norm(together[:, None] - together[None], axis=-1)
    gaps[episode[:, None] == episode[None]] = np.nan
    assert one.ceilings["nearest_in_state"] == pytest.approx(np.nanmin(gaps, 1).mean())
    assert one.floors["random"] == pytest.approx(np.nanmean(gaps, 1).mean())
    assert [r.name for r in found.rows("toy")] == ["toy/neighbours"] and found.rows("toy")[0].unit == "cm"


def test_examples_show_the_nearest_frames_of_other_episodes(tmp_path: Path) -> None:
    z = walk(4, 10, 3)
    store = told_store(tmp_path / "s.h5", [10] * 4)
    frames = frames_of(z, {"a": z, "b": z})
    found = find_neighbours(frames, store, ("pixels",))
    assert found is not None and len(found.examples) == 6 and len(found.distances) == 3
    together = np.concatenate(z)
    for example in found.examples:
        assert (example.episode[1:] != example.episode[0]).all()
        assert example.relative[0] == 0 and (np.diff(example.relative[1:5]) >= 0).all()
        row = 10 * int(example.episode[0]) + round(float(example.seconds[0]) * store.fps)
        np.testing.assert_array_equal(example.pictures[0], store.pixels(np.array([row]), ("pixels",))[0])
        gaps = np.linalg.norm(together - together[row], axis=1)[frames.episode != example.episode[0]]
        np.testing.assert_allclose(example.apart["a"][1:5], np.sort(gaps)[:4], rtol=1e-6)
    assert draw_neighbours(found).startswith(b"\x89PNG")


def test_two_episodes_of_one_frame_and_one_episode(tmp_path: Path) -> None:
    store = told_store(tmp_path / "s.h5", [1, 1])
    found = find_neighbours(frames_of(walk(2, 1, 2), None), store, ("pixels",))
    assert found is not None and found.distances == () and found.rows("x") == []
    assert [len(e.pictures) for e in found.examples] == [3, 3] and draw_neighbours(found)
    assert find_neighbours(frames_of(walk(1, 9, 2), None), store, ("pixels",)) is None


def test_queries_are_spread_over_time_and_episodes() -> None:
    episode, when = np.repeat(np.arange(12), 11), np.tile(np.linspace(0, 1, 11), 12)
    chosen = choose_queries(episode, when, 6)
    assert len(set(episode[chosen].tolist())) == 6
    assert (np.diff(when[chosen]) > 0).all() and when[chosen[0]] < 0.2 and when[chosen[-1]] > 0.8
