"""Maps of the latents, and normality over time."""

import dataclasses
import sys
import types

import numpy as np
import pytest
import torch
from told_worlds import frames_of, trajectories_of, walk

from jepaflow.diagnosis.figures_geometry import draw_normality_time, draw_panels
from jepaflow.diagnosis.frames import Kinds
from jepaflow.diagnosis.normality_time import normality_over_time
from jepaflow.diagnosis.panels import make_panels
from jepaflow.diagnosis.told import Told


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (6, 1)])
def test_smallest_maps(shape: tuple[int, int]) -> None:
    panels = make_panels(frames_of([np.random.default_rng(0).normal(size=shape)], None))
    assert set(panels.maps) == ({"PCA"} if shape[0] < 5 else {"PCA", "t-SNE"})
    assert all(m.shape == (shape[0], 2) and np.isfinite(m).all() for m in panels.maps.values())
    assert draw_panels(panels).startswith(b"\x89PNG")


def test_a_dead_latent_has_a_map_too() -> None:
    panels = make_panels(frames_of([np.ones((8, 3))] * 2, None))
    assert list(panels.maps) == ["PCA"] and draw_panels(panels)


def test_t_sne_keeps_clusters_apart_and_repeats_itself() -> None:
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(3), 30)
    z = 20 * np.eye(5)[cluster] + rng.normal(size=(90, 5))
    frames = frames_of([z], None)
    points = make_panels(frames).maps["t-SNE"]
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(90)
    assert (cluster[gaps.argmin(1)] == cluster).all()
    np.testing.assert_array_equal(points, make_panels(frames).maps["t-SNE"])


def test_three_colourings_and_many_classes_can_be_drawn() -> None:
    frames = frames_of(walk(4, 10, 3), None)
    kinds = Kinds(
        "task", np.arange(40) % 12, tuple(f"a task with a rather long name, number {i}, to be cut" for i in range(12))
    )
    told = Told({"cube": frames.z[:, :2]}, "cm", "places", {"cube x, cm": frames.z[:, 0], "cube y, cm": frames.z[:, 1]})
    panels = make_panels(dataclasses.replace(frames, kinds=kinds, told=told))
    assert [c.title for c in panels.colourings] == ["time in the episode", "task", "cube x, cm"]
    assert draw_panels(panels)


def test_umap_where_it_is_installed_and_a_sentence_where_not(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = frames_of(walk(2, 10, 3), None)
    monkeypatch.setitem(sys.modules, "umap", None)
    assert "umap-learn" in make_panels(frames).missing

    class Fake:
        def __init__(self, **settings: object) -> None:
            assert settings["n_neighbors"] == 15 and settings["random_state"] == 7

        def fit_transform(self, z: np.ndarray) -> np.ndarray:
            torch.set_num_threads(2)  # as numba does
            return np.zeros((len(z), 2), np.float32)

    module = types.ModuleType("umap")
    module.UMAP = Fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    panels = make_panels(frames, seed=7)
    assert list(panels.maps) == ["PCA", "t-SNE", "UMAP"] and not panels.missing
    assert torch.get_num_threads() == 1


def test_normality_finds_the_one_bad_time() -> None:
    rng = np.random.default_rng(0)
    latents = [rng.normal(size=(20, 6)) for _ in range(70)]
    for e, z in enumerate(latents):
        z[12:16] = 0.1 * z[12:16] + 5 * (-1) ** e  # two far clumps in the fourth fifth
    found = normality_over_time(trajectories_of(latents))
    assert found.n == 70 and found.per_episode == 1
    assert found.share[3] > 0.95 and found.share[[0, 1, 2, 4]].max() < 0.05
    assert found.total == pytest.approx(found.share.mean())
    assert found.limit <= found.statistic[found.failed].min()
    row = found.rows("toy")[0]
    assert (row.name, row.n, row.low, row.high) == ("toy/normality_by_time", 350, found.share.min(), found.share.max())
    assert draw_normality_time(found).startswith(b"\x89PNG")


def test_normal_latents_pass_at_all_times() -> None:
    totals = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        found = normality_over_time(trajectories_of([rng.normal(size=(10, 6)) for _ in range(70)]))
        totals.append(found.total)
    assert np.median(totals) == 0


def test_few_episodes_give_several_frames_each_and_too_few_give_none() -> None:
    rng = np.random.default_rng(0)
    found = normality_over_time(trajectories_of([rng.normal(size=(60, 4)) for _ in range(8)]))
    assert (found.per_episode, found.n) == (8, 64)
    none = normality_over_time(trajectories_of([rng.normal(size=(4, 4)) for _ in range(8)]))
    assert none.n == 0 and np.isnan(none.total) and none.rows("x") == [] and draw_normality_time(none)
    dead = normality_over_time(trajectories_of([np.ones((10, 4))] * 20))
    assert dead.total == 1
