"""The same real episodes in two layouts give the same store; the doctor tells the truth about real folders."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from jepaflow.data.convert import ConvertConfig, convert
from jepaflow.data.doctor import examine
from jepaflow.data.hub import open_dataset
from jepaflow.data.types import compact

pytestmark = pytest.mark.realdata


def test_v21_and_v30_give_the_same_store(realdata: Path, tmp_path: Path) -> None:
    for name in ("v21", "v30"):
        convert(open_dataset(realdata / f"cr5_banana_{name}"), tmp_path / f"{name}.h5", ConvertConfig(image_size=64))
    with h5py.File(tmp_path / "v21.h5") as old, h5py.File(tmp_path / "v30.h5") as new:
        assert sorted(old) == sorted(new) and old["pixels"].shape == (1840, 64, 64, 3)
        for column in old:
            assert np.array_equal(old[column][:], new[column][:]), column
        # Episodes 1, 3, 5, 7 lie in the second half of a shared mp4: their first frames are not their neighbour's.
        first = new["pixels"][:][new["ep_offset"][:]].astype(int)
        assert np.abs(first[1] - first[0]).mean() > 3


def test_doctor_on_v30_finds_the_drift_and_no_error(realdata: Path) -> None:
    diagnosis = examine(realdata / "cr5_banana_v30", frames=False)
    assert diagnosis.count("error") == 0
    drift = next(finding for finding in diagnosis.findings if finding.code == "time-drift")
    assert "2.17 s" in drift.sentence


def test_doctor_names_the_absent_episodes(realdata: Path) -> None:
    diagnosis = examine(realdata / "g1_upperbody", frames=False)
    absent = next(finding for finding in diagnosis.findings if finding.code == "absent-episodes")
    missing = compact(sorted(set(range(100)) - {29, 30, 31, 59, 82}))
    assert absent.sentence == f"95 of 100 episodes are promised but absent: {missing}."
    assert diagnosis.episodes == 5


def test_ordinary_videos_open(realdata: Path) -> None:
    dataset = open_dataset(realdata / "videos" / "mdn_cc0")
    assert [episode.length for episode in dataset.episodes] == [150, 185, 90]
