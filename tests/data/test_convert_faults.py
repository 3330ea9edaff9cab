"""Conversion of what is damaged, and beside what is good already: named, never misread, never lost."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.data.convert import ConvertConfig, Report, convert
from jepaflow.data.encode import encode_video
from jepaflow.data.hub import open_dataset
from jepaflow.data.lerobot import LeRobotDataset
from jepaflow.data.partial import PartialStore
from jepaflow.data.store import Store
from jepaflow.data.writer import DatasetWriter
from tests.data.builders import (
    DATA,
    EPISODES,
    TOP,
    clip,
    edit_table,
    features,
    frame_seen,
    make_v2,
    make_v3,
    read_info,
    rows,
    write_info,
    write_lines,
)

Spoil = Callable[[str], Path]
SMALL = ConvertConfig(image_size=48)
DROP, KEEP, OVER = (
    replace(SMALL, **change) for change in ({"on_damage": "drop"}, {"on_damage": "keep"}, {"overwrite": True})
)
SECOND = Path("data/chunk-000/episode_000001.parquet")


def assert_same(one: Path, other: Path) -> None:
    """Two stores hold the same columns."""
    with h5py.File(one) as left, h5py.File(other) as right:
        assert sorted(left) == sorted(right)
        for column in left:
            assert np.array_equal(left[column][:], right[column][:]), column


def fail_at(monkeypatch: pytest.MonkeyPatch, row: int) -> None:
    """Interrupt the conversion at a row of the store."""
    write = PartialStore.write_frame

    def failing(self: PartialStore, column: str, number: int, frame: np.ndarray) -> None:
        if self.row + number == row:
            raise KeyboardInterrupt
        write(self, column, number, frame)

    monkeypatch.setattr(PartialStore, "write_frame", failing)


def interrupt(monkeypatch: pytest.MonkeyPatch, root: Path, out: Path, config: ConvertConfig, row: int) -> None:
    """Convert and be interrupted at a row."""
    with monkeypatch.context() as patch:
        fail_at(patch, row)
        with pytest.raises(KeyboardInterrupt):
            convert(open_dataset(root), out, config)


def damage_of(root: Path, out: Path, config: ConvertConfig = DROP) -> dict[int, str]:
    """What a conversion says of its damaged episodes, which "fail" must refuse."""
    with pytest.raises(JepaflowError, match="is damaged"):
        convert(open_dataset(root), out.with_name(f"refused_{out.name}"), SMALL)
    report = convert(open_dataset(root), out, config)
    return {entry["episode"]: " ".join(entry["damage"]) for entry in (*report.dropped, *report.damaged_but_kept)}


def change_second(root: Path, change: Callable[[dict[str, list[Any]]], dict[str, Any]]) -> None:
    """Rewrite columns of a v2 dataset's second episode."""
    edit_table(root / SECOND, lambda columns: {**columns, **change(columns)})


# What is good already ------------------------------------------------------------------------------------------------


def test_overwrite_leaves_the_old_store_until_the_new_one_is_whole(
    v3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.h5"
    convert(open_dataset(v3), out, SMALL)
    before = out.read_bytes()
    with pytest.raises(JepaflowError, match="no camera"):
        convert(open_dataset(v3), out, replace(OVER, cameras=("front",)))
    with monkeypatch.context() as patch:
        patch.setattr("jepaflow.data.conversion_plan.disk_usage", lambda _: type("Usage", (), {"free": 0}))
        with pytest.raises(JepaflowError, match="GB more"):
            convert(open_dataset(v3), out, OVER)
    assert out.read_bytes() == before
    interrupt(monkeypatch, v3, out, replace(OVER, image_size=32), 60)
    assert out.read_bytes() == before
    assert convert(open_dataset(v3), out, replace(OVER, image_size=32)).continued_after == 0  # the flag says anew
    assert Store(out).image_size == 32
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "conversion_report.json"]


def test_overwrite_respects_a_conversion_at_work(v3: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.h5"
    convert(open_dataset(v3), out, SMALL)
    before = out.read_bytes()
    columns = {"pixels": ((3, 8, 8, 3), "u1")}
    first = PartialStore(out, {"a": 1}, columns, overwrite=True)
    journal = first.journal_path.read_bytes()
    with pytest.raises(JepaflowError, match="Another conversion"):
        convert(open_dataset(v3), out, OVER)
    assert out.read_bytes() == before and first.journal_path.read_bytes() == journal and first.path.exists()
    first.close()


def test_the_lock_is_held_until_the_store_has_its_name(
    v3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    out, refused = tmp_path / "a.h5", []
    swap = os.replace

    def swapped(source: Any, target: Any) -> None:
        if Path(target) == out:
            with pytest.raises(JepaflowError, match="Another conversion"):
                PartialStore(out, {}, {"pixels": ((3, 8, 8, 3), "u1")}, overwrite=True)
            refused.append(target)
        swap(source, target)

    monkeypatch.setattr(os, "replace", swapped)
    assert convert(open_dataset(v3), out, SMALL).episodes == 3 and refused
    with pytest.raises(JepaflowError, match="exists already"):
        PartialStore(out, {}, {"pixels": ((3, 8, 8, 3), "u1")})


def test_reports_of_one_folder_stand_beside_each_other(v2: Path, v3: Path, tmp_path: Path) -> None:
    first = convert(open_dataset(v2), tmp_path / "a.h5", SMALL)
    convert(open_dataset(v3), tmp_path / "b.h5", replace(SMALL, image_size=32))
    path = tmp_path / "conversion_report.json"
    reports = json.loads(path.read_text())
    assert [reports[name]["image_rule"][:16] for name in ("a.h5", "b.h5")] == ["short side to 48", "short side to 32"]
    path.write_text(json.dumps(reports["a.h5"]))  # as it was written once
    convert(open_dataset(v3), tmp_path / "c.h5", SMALL)
    reports = json.loads(path.read_text())
    assert sorted(reports) == ["a.h5", "c.h5"] and reports["a.h5"]["source_version"] == first.source_version
    path.write_text("[]")
    with pytest.raises(JepaflowError, match="no conversion reports"):
        convert(open_dataset(v3), tmp_path / "d.h5", SMALL)


# Rows and frames -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["video", "image", "png", "v3"])
def test_rows_out_of_order_are_sorted(tmp_path: Path, kind: str) -> None:
    make = make_v3 if kind == "v3" else lambda root: make_v2(root, kind=kind)
    sorted_root, root = make(tmp_path / "d"), make(tmp_path / "shuffled" / "d")
    random = np.random.default_rng(3)
    for path in root.glob("data/*/*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.take(random.permutation(table.num_rows)), path, row_group_size=20)
    convert(open_dataset(sorted_root), tmp_path / "a.h5", SMALL)
    convert(open_dataset(root), tmp_path / "b.h5", SMALL)
    assert_same(tmp_path / "a.h5", tmp_path / "b.h5")
    dataset = LeRobotDataset(root)
    frames = [frame_seen(frame) for frame in dataset.frames(dataset.episodes[1], dataset.cameras[0])]
    assert frames == list(range(30))


@pytest.mark.parametrize("place", [3, 30, None])
def test_rows_without_an_order_are_damage(spoil: Spoil, tmp_path: Path, place: int | None) -> None:
    root = spoil("v2")
    change_second(root, lambda columns: {"frame_index": [*columns["frame_index"][:-1], place]})
    said = damage_of(root, tmp_path / "a.h5")
    assert set(said) == {1} and "frame_index" in said[1] and "29" in said[1]
    assert set(damage_of(root, tmp_path / "b.h5", KEEP)) == {1}
    with h5py.File(tmp_path / "b.h5") as file:
        assert np.array_equal(file["action"][24:54], rows(1, 30)["action"])  # kept as they lie


def test_corrupt_image_pages_are_damage_of_their_episode(tmp_path: Path) -> None:
    root = make_v2(tmp_path / "d", kind="image")
    path = root / SECOND
    meta = pq.read_metadata(path).row_group(0)
    column = next(meta.column(n) for n in range(meta.num_columns) if meta.column(n).path_in_schema == f"{TOP}.bytes")
    with open(path, "r+b") as handle:
        handle.seek(column.data_page_offset)
        handle.write(b"\xff" * 16)
    said = damage_of(root, tmp_path / "a.h5")
    assert set(said) == {1} and "Episode 1" in said[1] and str(path) in said[1] and "top images" in said[1]
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["ep_source"][:].tolist() == [0, 2]


def test_an_image_file_that_cannot_be_read_is_one_bad_frame(tmp_path: Path) -> None:
    root = make_v2(tmp_path / "d", kind="png")
    path = root / "images" / TOP / "episode_000001" / "frame_000007.png"
    path.unlink()
    path.mkdir()
    assert damage_of(root, tmp_path / "a.h5", KEEP) == {1: "top frames 7 cannot be decoded."}


def test_unreadable_videos_of_a_folder_obey_on_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "v"
    root.mkdir()
    for number, name in enumerate("ace"):
        encode_video(root / f"{name}.mp4", clip(number, 9 + number), 25)
    (root / "b.mp4").write_bytes(b"nothing")
    said = damage_of(root, tmp_path / "drop.h5")
    assert set(said) == {1} and "b.mp4 cannot be opened as a video" in said[1]
    report = convert(open_dataset(root), tmp_path / "keep.h5", KEEP)
    assert [entry["episode"] for entry in report.dropped] == [1] and report.episodes == 3
    interrupt(monkeypatch, root, tmp_path / "cut.h5", DROP, 12)
    report = convert(open_dataset(root), tmp_path / "cut.h5", DROP)
    assert report.continued_after == 2 and [entry["episode"] for entry in report.dropped] == [1]
    assert_same(tmp_path / "cut.h5", tmp_path / "drop.h5")
    with h5py.File(tmp_path / "cut.h5") as file:
        assert file["ep_source"][:].tolist() == [0, 2, 3] and file["ep_len"][:].tolist() == [9, 10, 11]


# Continuing ----------------------------------------------------------------------------------------------------------


def test_how_damage_is_handled_may_change_until_there_was_some(
    spoil: Spoil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = spoil("v2"), tmp_path / "a.h5"
    (root / "videos/chunk-000" / TOP / "episode_000001.mp4").write_bytes(b"nothing")
    with pytest.raises(JepaflowError, match="Episode 1 is damaged"):
        convert(open_dataset(root), out, SMALL)
    interrupt(monkeypatch, root, out, DROP, 30)
    with pytest.raises(JepaflowError, match=r'begun differently \(on_damage: "drop", now "keep"'):
        convert(open_dataset(root), out, KEEP)
    report = convert(open_dataset(root), out, DROP)
    assert report.continued_after == 2 and [entry["episode"] for entry in report.dropped] == [1]


def _swap_lengths(root: Path) -> None:
    edit_table(root / EPISODES, lambda columns: {**columns, "length": [30, 24, 27]})


def _move_slot(root: Path) -> None:
    key = f"videos/{TOP}/from_timestamp"
    edit_table(root / EPISODES, lambda columns: {**columns, key: [value + 0.5 for value in columns[key]]})


def _faster(root: Path) -> None:
    write_info(root, {**read_info(root), "fps": 20})


def _other_unit(root: Path) -> None:
    info = read_info(root)
    info["features"]["action"]["unit"] = "mm"
    write_info(root, info)


@pytest.mark.parametrize("change", [_swap_lengths, _move_slot, _faster, _other_unit])
def test_a_source_described_differently_is_not_continued(
    spoil: Spoil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    root, out = spoil("v3"), tmp_path / "a.h5"
    interrupt(monkeypatch, root, out, SMALL, 60)
    change(root)
    with pytest.raises(JepaflowError, match=r"begun differently \(metadata"):
        convert(open_dataset(root), out, SMALL)


# Values --------------------------------------------------------------------------------------------------------------


def _numbered_tasks(root: Path) -> None:
    """Tasks 3 and 8 instead of 0 and 1; the episodes list names none, so only the rows tell."""
    write_lines(root / "meta/tasks.jsonl", [{"task_index": number, "task": f"do {number}"} for number in (8, 3)])
    write_lines(
        root / "meta/episodes.jsonl",
        [{"episode_index": e, "tasks": [], "length": n} for e, n in enumerate((24, 30, 27))],
    )
    for number, path in enumerate(sorted(root.glob("data/*/*.parquet"))):
        edit_table(path, lambda columns, n=number: {**columns, "task_index": [(8, 3, 8)[n]] * len(columns["index"])})


def test_tasks_are_found_by_their_own_numbers(spoil: Spoil, tmp_path: Path) -> None:
    root = spoil("v2")
    _numbered_tasks(root)
    convert(open_dataset(root), tmp_path / "a.h5", SMALL)
    with h5py.File(tmp_path / "a.h5") as file:
        tasks = json.loads(file.attrs["jepaflow"])["tasks"]
        assert [tasks[place] for place in file["task_index"][:][[0, 24, 54]]] == ["do 8", "do 3", "do 8"]
    change_second(root, lambda columns: {"task_index": [3] * 10 + [1] + [3] * 19})
    assert damage_of(root, tmp_path / "b.h5") == {1: "task_index 1 is not in the tasks file."}
    (root / "meta/tasks.jsonl").unlink()
    report = convert(open_dataset(root), tmp_path / "c.h5", SMALL)  # no sentence at all: nothing to mistake
    assert report.episodes == 3
    listing = [
        {"episode_index": e, "tasks": t, "length": n} for e, t, n in ((0, ["a"], 24), (1, [], 30), (2, ["b"], 27))
    ]
    write_lines(root / "meta/episodes.jsonl", listing)
    assert "its task is unknown" in damage_of(root, tmp_path / "d.h5")[1]


@pytest.mark.parametrize("column", ["index", "task_index", "timestamp"])
def test_missing_bookkeeping_is_named(spoil: Spoil, tmp_path: Path, column: str) -> None:
    root = spoil("v2")
    change_second(root, lambda columns: {column: [None if n in (4, 7) else v for n, v in enumerate(columns[column])]})
    assert damage_of(root, tmp_path / "a.h5") == {1: f"{column} is missing in frames 4, 7."}
    assert damage_of(root, tmp_path / "b.h5", KEEP) == {1: f"{column} is missing in frames 4, 7."}
    convert(open_dataset(root), tmp_path / "c.h5", KEEP)
    with h5py.File(tmp_path / "c.h5") as file:  # counting fills the gaps
        expected = {"index": np.arange(81), "task_index": np.repeat([0, 1, 0], (24, 30, 27))}
        times = np.concatenate([np.arange(length) / 10 for length in (24, 30, 27)]).astype(np.float32)
        assert np.array_equal(file[column][:], expected.get(column, times))


@pytest.mark.parametrize("lengths", [{4: 1, 9: 3}, {29: 0}, {0: None}])
def test_rows_of_unequal_length_are_named(spoil: Spoil, tmp_path: Path, lengths: dict[int, int | None]) -> None:
    """One value too few here and one too many there keep the total: only the rows themselves tell."""
    root = spoil("v2")

    def cut(columns: dict[str, list[Any]]) -> dict[str, Any]:
        wanted = [lengths.get(row, 2) for row in range(30)]
        return {"action": [None if size is None else [0.5] * size for size in wanted]}

    change_second(root, cut)
    said = damage_of(root, tmp_path / "a.h5")
    row, size = next(iter(lengths.items()))
    assert set(said) == {1} and f"column action of {root / SECOND}" in said[1]
    assert f"row {row} holds {size or 0} values where 2 are usual" in said[1]


def test_nested_rows_are_read(spoil: Spoil) -> None:
    root = spoil("v2")
    change_second(root, lambda columns: {})
    table = pq.read_table(root / SECOND)
    nested = pa.array([[[a], [b]] for a, b in table["action"].to_pylist()])
    pq.write_table(table.set_column(table.column_names.index("action"), "action", nested), root / SECOND)
    dataset = LeRobotDataset(root)
    assert np.allclose(dataset.rows(dataset.episodes[1])["action"], rows(1, 30)["action"])


def test_nan_in_a_simulator_state_is_damage(tmp_path: Path) -> None:
    key = "observation.environment_state"
    described = {**features(), key: {"dtype": "float64", "shape": [1], "names": None}}
    with DatasetWriter(tmp_path / "d", 10, described) as writer:
        for number in range(2):
            full = np.arange(12.0)[:, None]
            writer.add_episode({**rows(number, 12), key: full}, {TOP: clip(number, 12)}, "go")
    table = pq.read_table(tmp_path / "d" / DATA)
    values = np.array(table[key].to_pylist(), dtype=np.float64)
    values[15] = np.nan
    column = pa.array(list(values), table.schema.field(key).type)
    pq.write_table(table.set_column(table.column_names.index(key), key, column), tmp_path / "d" / DATA)
    assert damage_of(tmp_path / "d", tmp_path / "a.h5") == {
        1: f"{key} is NaN or infinite in 1 frames (first: frame 3)."
    }


def test_the_report_type_is_what_is_saved(v3: Path, tmp_path: Path) -> None:
    report = convert(open_dataset(v3), tmp_path / "a.h5", SMALL)
    saved = json.loads((tmp_path / "conversion_report.json").read_text())["a.h5"]
    assert Report(**saved) == report
