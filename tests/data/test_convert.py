"""Conversion: right content, right order, and nothing that looks finished when it is not."""

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepaflow.cli import convert as command
from jepaflow.common.errors import JepaflowError
from jepaflow.data.convert import ConvertConfig, convert
from jepaflow.data.encode import encode_video
from jepaflow.data.hub import open_dataset
from jepaflow.data.store import Store
from tests.data.builders import (
    DATA,
    LENGTHS,
    TOP,
    VIDEO,
    background,
    clip,
    frame_seen,
    level_seen,
    make_v2,
    make_v3,
    rows,
)

REPOSITORY = Path(__file__).resolve().parents[2]
Spoil = Callable[[str], Path]
SMALL = ConvertConfig(image_size=48)


def partials(out: Path) -> list[str]:
    """Names of what an interrupted conversion left beside ``out``."""
    return sorted(path.name for path in out.parent.glob(f"{out.name}.*"))


@pytest.mark.parametrize("name", ["v2", "v3"])
def test_store_holds_the_dataset(spoil: Spoil, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out" / "a.h5"
    report = convert(open_dataset(spoil(name)), out, SMALL)
    assert (report.episodes, report.frames, report.dropped, report.absent) == (3, sum(LENGTHS), [], [])
    assert report.verification == {"frames": 16, "largest_difference": 0}
    assert json.loads((out.parent / "conversion_report.json").read_text())["a.h5"]["frames"] == sum(LENGTHS)
    assert partials(out) == []
    with h5py.File(out) as file:
        assert (
            bool(file.attrs["complete"])
            and file["pixels"].chunks == (1, 48, 48, 3)
            and file["pixels"].compression is None
        )
        assert file["ep_len"][:].tolist() == list(LENGTHS) and file["ep_len"].dtype == np.int32
        assert file["ep_offset"][:].tolist() == [0, 24, 54] and file["ep_source"][:].tolist() == [0, 1, 2]
        for column, dtype in {
            "pixels": "u1",
            "action": "f4",
            "proprio": "f4",
            "state": "f4",
            "timestamp": "f4",
        }.items():
            assert file[column].dtype == dtype
        for column in ("episode_idx", "step_idx", "task_index", "index", "ep_offset", "ep_source"):
            assert file[column].dtype == np.int64
        for episode, length in enumerate(LENGTHS):
            part = slice(int(file["ep_offset"][episode]), int(file["ep_offset"][episode]) + length)
            assert np.array_equal(file["action"][part], rows(episode, length)["action"])
            assert np.array_equal(file["proprio"][part], rows(episode, length)["observation.state"])
            assert np.array_equal(file["state"][part], file["proprio"][part])
            assert set(file["episode_idx"][part]) == {episode} and file["step_idx"][part].tolist() == list(
                range(length)
            )
            assert set(file["task_index"][part]) == {episode % 2}
            for number, frame in enumerate(file["pixels"][part]):
                assert abs(level_seen(frame) - background(episode)) < 4
                if 8 <= 2 * number % 60 <= 48:  # where the crop leaves the bar whole
                    assert frame_seen(frame) == number % 30 - 4
        assert file["index"][:].tolist() == list(range(sum(LENGTHS)))
        meta = json.loads(file.attrs["jepaflow"])
    assert meta["cameras"] == ["top"] and meta["fps"] == 10 and meta["image_size"] == 48
    assert meta["tasks"] == ["task 0", "task 1"] and meta["image_rule"] == "short side to 48, centre crop"
    assert meta["features"]["action"] == {"key": "action", "names": ["dx", "dy"], "unit": "m"}
    assert Store(out).num_episodes == 3


def test_all_cameras_and_chosen_ones(tmp_path: Path) -> None:
    dataset = open_dataset(make_v3(tmp_path / "d", (8, 9), (TOP, "observation.images.side")))
    convert(dataset, tmp_path / "both.h5", SMALL)
    convert(dataset, tmp_path / "side.h5", ConvertConfig(image_size=48, cameras=("side",)))
    with h5py.File(tmp_path / "both.h5") as both, h5py.File(tmp_path / "side.h5") as side:
        assert abs(level_seen(both["pixels"][0]) - background(0)) < 4
        assert np.array_equal(both["pixels_side"][:], side["pixels"][:])
        assert "pixels_side" not in side and json.loads(both.attrs["jepaflow"])["cameras"] == ["top", "side"]
    with pytest.raises(JepaflowError, match="Its cameras: top, side"):
        convert(dataset, tmp_path / "none.h5", ConvertConfig(cameras=("front",)))


def test_simulator_state_and_units(tmp_path: Path) -> None:
    from jepaflow.data.writer import DatasetWriter
    from tests.data.builders import features

    described = {**features(), "observation.environment_state": {"dtype": "float64", "shape": [5], "names": None}}
    full = np.arange(60, dtype=np.float64).reshape(12, 5)
    with DatasetWriter(tmp_path / "d", 10, described) as writer:
        writer.add_episode({**rows(0, 12), "observation.environment_state": full}, {TOP: clip(0, 12)}, "go")
    config = ConvertConfig(image_size=48, units={"action": "rad/s"})
    convert(open_dataset(tmp_path / "d"), tmp_path / "a.h5", config)
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["state"][:], full.astype(np.float32)) and file["proprio"].shape == (12, 3)
        features_meta = json.loads(file.attrs["jepaflow"])["features"]
    assert (
        features_meta["action"]["unit"] == "rad/s" and features_meta["state"]["key"] == "observation.environment_state"
    )
    with pytest.raises(JepaflowError, match="actoin"):
        convert(open_dataset(tmp_path / "d"), tmp_path / "b.h5", ConvertConfig(units={"actoin": "rad"}))


def test_videos_have_no_actions(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    encode_video(tmp_path / "v" / "a.mp4", clip(0, 9), 25)
    encode_video(tmp_path / "v" / "b.mp4", clip(1, 11, 64, 48), 25)
    report = convert(open_dataset(tmp_path / "v"), tmp_path / "a.h5", SMALL)
    assert report.episodes == 2
    with h5py.File(tmp_path / "a.h5") as file:
        assert "action" not in file and "proprio" not in file and file["pixels"].shape == (20, 48, 48, 3)


def _nan(root: Path) -> None:
    table = pq.read_table(root / DATA)
    state = np.array(table["action"].to_pylist(), dtype=np.float32)
    state[30, 1] = np.nan
    column = pa.FixedSizeListArray.from_arrays(pa.array(state.ravel()), 2)
    pq.write_table(table.set_column(table.column_names.index("action"), "action", column), root / DATA)


def _garbage_in_video(root: Path) -> None:
    """Overwrite packets in the middle of the second episode."""
    import av

    with av.open(str(root / VIDEO)) as container:
        places = {packet.pts: (packet.pos, packet.size) for packet in container.demux(video=0) if packet.size}
    with open(root / VIDEO, "r+b") as handle:
        for number in (34, 35, 36, 37):
            position, size = places[number]
            handle.seek(position)
            handle.write(b"\0" * size)


DAMAGE = {"NaN": _nan, "undecodable frames": _garbage_in_video}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_episodes(spoil: Spoil, tmp_path: Path, kind: str) -> None:
    root, out = spoil("v3"), tmp_path / "a.h5"
    DAMAGE[kind](root)
    with pytest.raises(JepaflowError, match="Episode 1 is damaged"):
        convert(open_dataset(root), out, SMALL)
    assert not out.exists()
    report = convert(open_dataset(root), out, ConvertConfig(image_size=48, on_damage="drop", overwrite=True))
    assert [entry["episode"] for entry in report.dropped] == [1] and report.episodes == 2
    with h5py.File(out) as file:
        assert file["pixels"].shape[0] == file["action"].shape[0] == 51
        assert file["ep_source"][:].tolist() == [0, 2] and set(file["episode_idx"][24:]) == {1}
        assert (
            abs(level_seen(file["pixels"][24]) - background(2)) < 4
            and abs(level_seen(file["pixels"][50]) - background(2)) < 4
        )
    report = convert(open_dataset(root), out, ConvertConfig(image_size=48, on_damage="keep", overwrite=True))
    assert report.episodes == 3 and [entry["episode"] for entry in report.damaged_but_kept] == [1]
    assert (report.damaged_but_kept[0]["repeated_frames"] > 0) == (kind != "NaN")
    with h5py.File(out) as file:
        assert file["pixels"].shape[0] == 81
        assert all(abs(level_seen(frame) - background(2)) < 4 for frame in file["pixels"][54:])


def test_missing_video_and_missing_rows(spoil: Spoil, tmp_path: Path) -> None:
    root = spoil("v2")
    (root / "videos/chunk-000" / TOP / "episode_000001.mp4").unlink()
    path = root / "data/chunk-000/episode_000002.parquet"
    pq.write_table(pq.read_table(path).slice(0, 20), path)
    with pytest.raises(JepaflowError, match=r"Episode 1 is damaged.*does not exist"):
        convert(open_dataset(root), tmp_path / "a.h5", SMALL)
    report = convert(open_dataset(root), tmp_path / "b.h5", ConvertConfig(image_size=48, on_damage="drop"))
    assert report.episodes == 1 and [entry["episode"] for entry in report.dropped] == [1, 2]


def test_every_episode_damaged(spoil: Spoil, tmp_path: Path) -> None:
    root = spoil("v3")
    (root / VIDEO).write_bytes((root / VIDEO).read_bytes()[:200])
    with pytest.raises(JepaflowError, match="Every episode"):
        convert(open_dataset(root), tmp_path / "a.h5", ConvertConfig(on_damage="drop"))
    assert not (tmp_path / "a.h5").exists()


def test_existing_store_is_not_overwritten(v3: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.h5"
    convert(open_dataset(v3), out, SMALL)
    before = out.read_bytes()
    with pytest.raises(JepaflowError, match="exists already"):
        convert(open_dataset(v3), out, SMALL)
    assert out.read_bytes() == before
    convert(open_dataset(v3), out, ConvertConfig(image_size=32, overwrite=True))
    assert Store(out).image_size == 32


def _fail_at(monkeypatch: pytest.MonkeyPatch, row: int, error: BaseException) -> None:
    from jepaflow.data.partial import PartialStore

    write = PartialStore.write_frame

    def failing(self: PartialStore, column: str, number: int, frame: np.ndarray) -> None:
        if self.row + number == row:
            raise error
        write(self, column, number, frame)

    monkeypatch.setattr(PartialStore, "write_frame", failing)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_interrupted_it_continues(
    v3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    convert(open_dataset(v3), tmp_path / "whole" / "a.h5", SMALL)
    out = tmp_path / "cut" / "a.h5"
    _fail_at(monkeypatch, 60, error)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else JepaflowError
    with pytest.raises(expected) as raised:
        convert(open_dataset(v3), out, SMALL)
    assert expected is KeyboardInterrupt or "No space left" in str(raised.value)
    monkeypatch.undo()
    assert not out.exists() and partials(out) == ["a.h5.journal.partial", "a.h5.partial"]
    with pytest.raises(JepaflowError, match=r"image_size: 48, now 32.*--overwrite"):
        convert(open_dataset(v3), out, ConvertConfig(image_size=32))
    report = convert(open_dataset(v3), out, SMALL)
    assert report.continued_after == 2 and partials(out) == []
    assert_same(out, tmp_path / "whole" / "a.h5")


def assert_same(one: Path, other: Path) -> None:
    """Two stores hold the same columns."""
    with h5py.File(one) as left, h5py.File(other) as right:
        assert sorted(left) == sorted(right)
        for column in left:
            assert np.array_equal(left[column][:], right[column][:]), column
        assert left.attrs["jepaflow"] == right.attrs["jepaflow"]


def test_changed_source_is_noticed(spoil: Spoil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = spoil("v3"), tmp_path / "a.h5"
    _fail_at(monkeypatch, 60, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        convert(open_dataset(root), out, SMALL)
    monkeypatch.undo()
    with open(root / VIDEO, "ab") as handle:
        handle.write(b"\0" * 64)
    with pytest.raises(JepaflowError, match="files"):
        convert(open_dataset(root), out, SMALL)


_KILLED_AGAIN_AND_AGAIN = """
import json, os, random, signal, sys, time
from pathlib import Path
import h5py
from jepaflow.data.convert import ConvertConfig, convert
from jepaflow.data.hub import open_dataset
root, out, config = Path(sys.argv[1]), Path(sys.argv[2]), ConvertConfig(image_size=48, verify=0)
journal, kills, finished, steps = out.with_name(out.name + ".journal.partial"), 0, [], []
random.seed(0)
begin = time.monotonic()
if os.fork() == 0:
    convert(open_dataset(root), out.with_name("first.h5"), config)
    os._exit(0)
os.wait()
whole = time.monotonic() - begin
while kills < 60:
    child = os.fork()
    if child == 0:
        convert(open_dataset(root), out, config)
        os._exit(0)
    time.sleep(random.uniform(0.0, whole))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    kills += os.WIFSIGNALED(status)
    steps.append(journal.read_bytes().count(b"\\n") if journal.exists() else -1)
    if out.exists():
        out.rename(out.with_name(f"{len(finished)}.h5"))
        finished.append(f"{len(finished)}.h5")
    elif not os.WIFSIGNALED(status):
        raise SystemExit(f"the child failed: {status}")
convert(open_dataset(root), out, config)
print(json.dumps({"finished": [*finished, out.name], "steps": steps}))
"""


def test_killed_at_sixty_moments_it_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    root = make_v3(tmp_path / "d", tuple(range(8, 18)))
    convert(open_dataset(root), tmp_path / "whole" / "a.h5", SMALL)
    command_line = [sys.executable, "-c", _KILLED_AGAIN_AND_AGAIN, str(root), str(tmp_path / "cut" / "a.h5")]
    done = subprocess.run(command_line, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    # Whatever has the final name is whole, and the kills fell at different places of the work.
    for name in result["finished"]:
        assert_same(tmp_path / "cut" / name, tmp_path / "whole" / "a.h5")
    assert len(set(result["steps"])) > 3, result


def test_two_conversions_do_not_write_one_file(v3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jepaflow.data.partial import PartialStore

    first = PartialStore(tmp_path / "a.h5", {"a": 1}, {"pixels": ((3, 8, 8, 3), "u1")})
    with pytest.raises(JepaflowError, match="Another conversion"):
        PartialStore(tmp_path / "a.h5", {"a": 1}, {"pixels": ((3, 8, 8, 3), "u1")})
    first.close()


def test_a_full_disk_reported_by_hdf5_is_one_clear_sentence(v3: Path, tmp_path: Path) -> None:
    """A limit on the size of files makes HDF5 fail as a full disk does: with a ValueError of its own."""
    script = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "from jepaflow.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    out = tmp_path / "a.h5"
    command_line = [sys.executable, "-c", script, "convert", str(v3), str(out), "--image-size", "48"]
    done = subprocess.run(command_line, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1 and "File too large" in done.stderr and not out.exists()
    convert(open_dataset(v3), out, SMALL)
    assert Store(out).num_episodes == 3
    with pytest.raises(JepaflowError, match="is a folder"):
        convert(open_dataset(v3), tmp_path, SMALL)


def test_full_disk_is_foreseen(v3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("jepaflow.data.conversion_plan.disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(JepaflowError, match=r"needs 0\.0 GB more"):
        convert(open_dataset(v3), tmp_path / "a.h5", SMALL)
    assert partials(tmp_path / "a.h5") == []


def test_verification_finds_a_wrong_frame(v3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jepaflow.data.partial import PartialStore

    write = PartialStore.write_frame
    shifted = lambda self, column, number, frame: write(self, column, number, np.roll(frame, 3, axis=1))  # noqa: E731
    monkeypatch.setattr(PartialStore, "write_frame", shifted)
    with pytest.raises(JepaflowError, match="differs from the source"):
        convert(open_dataset(v3), tmp_path / "a.h5", SMALL)
    assert not (tmp_path / "a.h5").exists()


def test_command(v3: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    assert command.run(command.Args(str(v3), tmp_path / "a.h5", image_size=48, json=figures)) == 0
    assert "3 episodes, 81 rows" in capsys.readouterr().out
    assert json.loads(figures.read_text())["verification"]["largest_difference"] == 0


@pytest.mark.parametrize(
    "options", [{"image_size": 2}, {"fit": "stretch"}, {"on_damage": "ignore"}, {"verify": -1}, {"workers": 0}]
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(JepaflowError):
        ConvertConfig(**options)


_PEAK = """
import re, resource, sys
from pathlib import Path
from jepaflow.data.convert import ConvertConfig, convert
from jepaflow.data.hub import open_dataset
from jepaflow.data.lerobot import LeRobotDataset
frames = LeRobotDataset.frames_or_none
if sys.argv[3] == "hold":
    LeRobotDataset.frames_or_none = lambda *arguments: iter(list(frames(*arguments)))
convert(open_dataset(Path(sys.argv[1])), Path(sys.argv[2]), ConvertConfig())
status = Path("/proc/self/status")  # on Linux, for ru_maxrss there counts the parent's memory too
if status.exists():
    print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text()).group(1)) * 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _peak(root: Path, how: str) -> float:
    """Peak memory of a conversion, bytes: as it is, or (``how`` "hold") with all frames of an episode held."""
    command_line = [sys.executable, "-c", _PEAK, str(root), str(root / f"{how}.h5"), how]
    done = subprocess.run(command_line, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_memory_does_not_grow_with_the_episode(tmp_path: Path) -> None:
    """One frame is held at a time: an episode four times as long, 45 MB more at 224 pixels, needs no more memory."""
    short, long = make_v2(tmp_path / "short", (100,)), make_v2(tmp_path / "long", (400,))
    allowed = 300 * 224 * 224 * 3 / 3
    assert _peak(long, "stream") - _peak(short, "stream") < allowed
    assert _peak(long, "hold") - _peak(short, "hold") > allowed  # the measure sees what it is there to see


AHEAD = replace(SMALL, workers=2)


@pytest.mark.parametrize("kind", DAMAGE)
def test_several_processes_write_the_same_store(spoil: Spoil, tmp_path: Path, kind: str) -> None:
    """Damage that is found before an episode's frames are asked for, and among them."""
    root = spoil("v3")
    for episodes in (3, 2):  # then one is dropped; what was decoded ahead of it is not lost
        one, two = tmp_path / f"{episodes} alone.h5", tmp_path / f"{episodes} ahead.h5"
        convert(open_dataset(root), one, replace(SMALL, on_damage="drop"))
        assert convert(open_dataset(root), two, replace(AHEAD, on_damage="drop")).episodes == episodes
        assert_same(one, two)
        DAMAGE[kind](root)


def test_a_lost_worker_loses_no_finished_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jepaflow.data.partial import PartialStore

    root = make_v3(tmp_path / "d", (8,) * 8)  # more than are decoded ahead
    convert(open_dataset(root), tmp_path / "whole.h5", SMALL)
    finish = PartialStore.finish_episode

    def killing(self: PartialStore, entry: Any) -> None:
        finish(self, entry)
        for child in multiprocessing.active_children():
            child.kill()
            child.join()

    monkeypatch.setattr(PartialStore, "finish_episode", killing)
    out = tmp_path / "a.h5"
    with pytest.raises(JepaflowError, match=r"A worker process died.*fewer --workers"):
        convert(open_dataset(root), out, AHEAD)
    monkeypatch.undo()
    assert not out.exists()
    assert convert(open_dataset(root), out, AHEAD).continued_after >= 1
    assert_same(out, tmp_path / "whole.h5")
