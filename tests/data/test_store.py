"""The store: what is read is what was asked for, and unfinished files are refused."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from tests.stores import write_store


def test_rows_come_in_the_order_asked_for(tmp_path: Path) -> None:
    store = Store(write_store(tmp_path / "s.h5", [1, 4, 3], size=8, cameras=("top", "phone")))
    assert store.read("pixels", np.empty(0, np.int64)).shape == (0, 8, 8, 3)
    for rows in ([0], [7, 0, 3], [2, 3, 4], [5, 5]):
        pixels = store.pixels(np.array(rows), ("top", "phone"))
        assert pixels.shape == (len(rows), 2, 8, 8, 3)
        step = np.array([0, 0, 1, 2, 3, 0, 1, 2])[rows]
        np.testing.assert_array_equal(pixels[:, :, 0, 0, 1], np.stack([step, step], 1))
        np.testing.assert_array_equal(pixels[:, :, 0, 0, 2], np.tile([0, 1], (len(rows), 1)))
        np.testing.assert_allclose(store.read("action", np.array(rows))[:, 0] % 1, step / 1000, atol=1e-6)
    np.testing.assert_array_equal(store.episode_rows(1), [1, 2, 3, 4])
    assert store.source_episode(2) == 102


def test_other_layouts_read_the_same(tmp_path: Path) -> None:
    """Compressed rows, or several rows a chunk, as other tools write them, go through HDF5 instead of the map."""
    plain = Store(write_store(tmp_path / "plain.h5", [4, 5], size=8))
    rows = np.array([8, 1, 1, 5])
    for name, layout in {
        "packed": {"compression": "gzip", "chunks": (1, 8, 8, 3)},
        "thick": {"chunks": (4, 8, 8, 3)},
    }.items():
        path = write_store(tmp_path / f"{name}.h5", [4, 5], size=8)
        with h5py.File(path, "r+") as file:
            pixels = file["pixels"][:]
            del file["pixels"]
            file.create_dataset("pixels", data=pixels, **layout)
        np.testing.assert_array_equal(Store(path).pixels(rows), plain.pixels(rows))


def test_it_travels_to_other_processes(tmp_path: Path) -> None:
    store = pickle.loads(pickle.dumps(Store(write_store(tmp_path / "s.h5", [3], size=8))))
    assert store.read("step_idx", np.arange(3)).tolist() == [0, 1, 2]


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JepaflowError, match="does not exist"):
        Store(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(JepaflowError, match="HDF5"):
        Store(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(JepaflowError, match="not a jepaflow store"):
        Store(tmp_path / "other.h5")
    write_store(tmp_path / "half.h5", [3], size=8, complete=False)
    with pytest.raises(JepaflowError, match="unfinished"):
        Store(tmp_path / "half.h5")
    with pytest.raises(JepaflowError, match="no camera 'wrist'"):
        Store(write_store(tmp_path / "s.h5", [3], size=8)).pixels_column("wrist")
