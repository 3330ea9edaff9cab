"""Landmarks: spread as a brute-force choice spreads them, the same for the same seed, traceable to their frames."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.subgoals.landmarks import LandmarkConfig, Landmarks, choose_landmarks, farthest_points, medoids, nearest
from jepaflow.training.corpus import gather
from jepaflow.training.latents import Latents

from ..stores import write_store


def latents_of(folder: Path, lengths: list[int], z: torch.Tensor) -> Latents:
    """Return latents of the episodes of a made store; episode 0 is left out, as a held-out one would be."""
    store = Store(write_store(folder / "made.h5", [3, *lengths], size=8))
    return Latents(gather([store], [(0, 1 + e) for e in range(len(lengths))], False), z)


def test_one_row_is_a_landmark() -> None:
    assert farthest_points(torch.zeros(1, 3), 1, 0).tolist() == [0]


def test_farthest_points_are_those_of_the_plain_algorithm() -> None:
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((300, 5))).float()
    gap = pairwise_distances(z.double().numpy())
    chosen = [7]
    while len(chosen) < 40:
        chosen.append(int(gap[:, chosen].min(1).argmax()))
    assert farthest_points(z, 40, 7).tolist() == chosen


def test_every_row_can_be_chosen_once_but_not_twice() -> None:
    z = torch.arange(6.0)[:, None].repeat(1, 2)
    assert sorted(farthest_points(z, 6, 2).tolist()) == list(range(6))
    with pytest.raises(JepaflowError, match="Only 6 of 7 landmarks differ"):
        farthest_points(torch.cat([z, z[:1]]), 7, 0)


def test_a_latent_that_is_not_finite_is_refused() -> None:
    with pytest.raises(JepaflowError, match="not finite"):
        farthest_points(torch.tensor([[0.0], [torch.nan]]), 1, 0)


def test_nearest_agrees_with_brute_force() -> None:
    rng = np.random.default_rng(1)
    z, marks = (torch.from_numpy(rng.standard_normal((n, 4))).float() for n in (200, 17))
    owner, gap = nearest(z, marks)
    full = pairwise_distances(z.numpy(), marks.numpy())
    assert owner.tolist() == full.argmin(1).tolist()
    assert np.allclose(gap.numpy(), full.min(1), atol=1e-3)


def test_medoids_find_the_middles_of_clumps() -> None:
    rng = np.random.default_rng(2)
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    z = torch.from_numpy(np.concatenate([c + rng.standard_normal((80, 2)) for c in centres])).float()
    spread = farthest_points(z, 3, 0)
    chosen = medoids(z, spread, 5)
    assert nearest(z, z[chosen])[1].mean() < nearest(z, z[spread])[1].mean()
    found = z[chosen].numpy()
    assert pairwise_distances(centres, found).min(1).max() < 0.4
    assert torch.equal(medoids(z, spread, 0), spread)


def test_a_landmark_is_the_row_it_says(tmp_path: Path) -> None:
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((60, 4))).float()
    latents = latents_of(tmp_path, [20, 25, 15], z)
    marks = choose_landmarks(latents, LandmarkConfig(count=12))
    frames = latents.corpus.stores[0].pixels(marks.row, ("top",))[:, 0, 0, 0]
    assert np.array_equal(frames[:, 0], marks.episode)
    assert np.array_equal(frames[:, 1], marks.step)
    assert set(marks.episode) <= {1, 2, 3}
    where = {(1 + e, s): i for i, (e, s) in enumerate(zip(latents.corpus.episode, latents.corpus.step, strict=True))}
    assert torch.equal(marks.z, z[[where[int(e), int(s)] for e, s in zip(marks.episode, marks.step, strict=True)]])


@pytest.mark.parametrize("method", ["farthest", "medoids"])
def test_the_seed_decides_and_only_allowed_rows_are_chosen(tmp_path: Path, method: str) -> None:
    latents = latents_of(
        tmp_path, [200, 200], torch.from_numpy(np.random.default_rng(0).standard_normal((400, 4))).float()
    )
    allowed = latents.corpus.step % 2 == 0

    def chosen(seed: int) -> list[int]:
        config = LandmarkConfig(20, method, candidates=180, seed=seed)  # type: ignore[arg-type]
        return choose_landmarks(latents, config, allowed).row.tolist()

    assert chosen(0) == chosen(0) != chosen(1)
    assert all((row - 3) % 2 == 0 for row in chosen(0))  # the left-out episode has three rows, the next begins even


def test_landmarks_are_read_back_and_listed_for_people(tmp_path: Path) -> None:
    latents = latents_of(tmp_path, [30], torch.from_numpy(np.random.default_rng(0).standard_normal((30, 4))).float())
    marks = choose_landmarks(latents, LandmarkConfig(count=5))
    marks.save(tmp_path / "marks.safetensors")
    back = Landmarks.load(tmp_path / "marks.safetensors")
    assert torch.equal(back.z, marks.z)
    for name in ("store", "episode", "step", "row"):
        assert np.array_equal(getattr(back, name), getattr(marks, name))
    assert back.stores == ("made.h5",)
    listed = json.loads((tmp_path / "marks.json").read_text())["landmarks"]
    assert [each["row"] for each in listed] == marks.row.tolist()


@pytest.mark.parametrize("content", [None, b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_files_that_are_no_landmarks_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "marks.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(JepaflowError, match=r"does not exist|damaged|holds no landmarks"):
        Landmarks.load(path)


@pytest.mark.parametrize("settings", [{"count": 0}, {"candidates": 0}, {"rounds": -1}])
def test_settings_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError):
        LandmarkConfig(**settings)


def test_more_landmarks_than_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JepaflowError, match="10 frames cannot give 11"):
        choose_landmarks(latents_of(tmp_path, [10], torch.randn(10, 2)), LandmarkConfig(count=11))


def test_many_landmarks_are_chosen_in_seconds() -> None:
    z = torch.randn(10_000, 64, generator=torch.Generator().manual_seed(0))
    began = time.process_time()
    assert len(farthest_points(z, 512, 0)) == 512
    assert time.process_time() - began < 5.0
