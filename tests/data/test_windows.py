"""Windows: exact rows, exact order, no window across episodes, splits by episode, scalers that survive constants."""

from pathlib import Path

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.data.scaling import column_statistics
from jepaflow.data.split import split_episodes
from jepaflow.data.store import Store
from jepaflow.data.windows import Windows, prefetch
from tests.stores import write_store


@pytest.mark.parametrize("frames,stride", [(1, 1), (2, 1), (4, 5), (3, 2)])
@pytest.mark.parametrize("cache", [0, None])
def test_a_window_is_its_rows(tmp_path: Path, frames: int, stride: int, cache: int | None) -> None:
    store = Store(write_store(tmp_path / "s.h5", [1, 20, 23, 5], size=8))
    windows = Windows([store], [(0, 1, 2, 3)], frames, stride, cache_bytes=cache, proprio=True)
    span = frames * stride
    assert len(windows) == sum(max(0, n - span + 1) for n in (1, 20, 23, 5))
    got = windows.batch(np.arange(len(windows)))
    _, episode, step = got.where.T
    np.testing.assert_array_equal(got.pixels[:, :, 0, 0, 0, 0], np.repeat(episode[:, None], frames, 1))
    np.testing.assert_array_equal(got.pixels[:, :, 0, 0, 0, 1], step[:, None] + stride * np.arange(frames))
    dense = (episode[:, None] + (step[:, None] + np.arange(span)) / 1000).reshape(-1, frames, stride)
    np.testing.assert_allclose(got.blocks[..., 0], dense, atol=1e-5)
    assert got.proprio is not None and got.proprio.shape == (len(windows), frames, 2)


def test_order_is_a_function_of_seed_and_epoch(tmp_path: Path) -> None:
    windows = Windows([Store(write_store(tmp_path / "s.h5", [30], size=8))], [(0,)], 2, 3)
    first = windows.order(1, 0)
    assert sorted(first) == list(range(len(windows)))
    np.testing.assert_array_equal(first, windows.order(1, 0))
    assert not np.array_equal(first, windows.order(1, 1)) and not np.array_equal(first, windows.order(2, 0))


def test_stores_are_mixed_and_mismatches_named(tmp_path: Path) -> None:
    one, two = Store(write_store(tmp_path / "1.h5", [9], size=8)), Store(write_store(tmp_path / "2.h5", [7], size=8))
    mixed = Windows([one, two], [(0,), (0,)], 2, 2)
    assert len(mixed) == 6 + 4 and set(mixed.index[:, 0]) == {0, 1}
    numbers = np.array([9, 0, 7, 5, 2, 6])  # from both stores, mingled
    got = mixed.batch(numbers)
    np.testing.assert_array_equal(got.where, mixed.index[numbers])
    np.testing.assert_array_equal(got.pixels[:, 0, 0, 0, 0, 1], got.where[:, 2])
    for i, (number, _, step) in enumerate(got.where):
        expected = (one, two)[number].pixels(step + 2 * np.arange(2))
        np.testing.assert_array_equal(got.pixels[i].numpy(), expected)
    assert "2.h5, episode 100, frames 3 to 6" in mixed.place(mixed.index[-1])
    for other, message in (
        (write_store(tmp_path / "3.h5", [9], size=12), "frames of another size"),
        (write_store(tmp_path / "4.h5", [9], size=8, action_dim=3), "actions of another size"),
        (write_store(tmp_path / "5.h5", [9], size=8, action_dim=0), "has no actions"),
    ):
        with pytest.raises(JepaflowError, match=message):
            Windows([one, Store(other)], [(0,), (0,)], 2, 2)
    with pytest.raises(JepaflowError, match=r"needs 50 control steps .* longest has 9"):
        Windows([one], [(0,)], 10, 5)


def test_prefetch_keeps_order_and_raises_in_place(tmp_path: Path) -> None:
    windows = Windows([Store(write_store(tmp_path / "s.h5", [30], size=8))], [(0,)], 2, 2)

    def read(step: int) -> object:
        if step == 5:
            raise JepaflowError("step 5 is damaged")
        return windows.batch(np.array([step]))

    seen = []
    with pytest.raises(JepaflowError, match="step 5"):
        for step, window in prefetch(read, 2, 9):  # type: ignore[arg-type]
            seen.append((step, int(window.where[0, 2])))
    assert seen == [(2, 2), (3, 3), (4, 4)]
    assert list(prefetch(read, 3, 3)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("episodes", [1, 2, 3, 10, 81])
def test_split_is_by_episode_and_complete(episodes: int) -> None:
    split = split_episodes(episodes, 0.1, seed=3)
    assert sorted(split.train + split.val) == list(range(episodes))
    assert len(split.val) == (0 if episodes == 1 else max(1, round(episodes / 10)))
    assert split == split_episodes(episodes, 0.1, seed=3)


def test_smaller_training_sets_are_nested() -> None:
    sizes = [set(split_episodes(50, 0.1, 0, limit=n).train) for n in (5, 10, 20, 45)]
    assert [len(s) for s in sizes] == [5, 10, 20, 45]
    assert all(a < b for a, b in zip(sizes, sizes[1:], strict=False))
    with pytest.raises(JepaflowError, match="No episode is left"):
        split_episodes(0)


def test_statistics_are_of_the_training_episodes_alone(tmp_path: Path) -> None:
    store = Store(write_store(tmp_path / "s.h5", [10, 30], size=8))
    mean, std = column_statistics([store], [(1,)], "action")
    values = store.read("action", store.episode_rows(1))
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(std, values.std(0), rtol=1e-3)


def test_constant_dimensions_and_bad_values(tmp_path: Path) -> None:
    import h5py

    path = write_store(tmp_path / "s.h5", [4, 4], size=8)
    with h5py.File(path, "r+") as file:
        file["action"][:, 1] = 3.0 + 1e-7 * np.arange(8)
    assert column_statistics([Store(path)], [(0, 1)], "action")[1][1] == 1.0
    with h5py.File(path, "r+") as file:
        file["action"][6, 1] = np.nan
    with pytest.raises(JepaflowError, match="action is not finite in episode 101, frame 2"):
        column_statistics([Store(path)], [(0, 1)], "action")
