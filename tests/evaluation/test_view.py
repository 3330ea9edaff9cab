"""What a person sees is what the data hold: the right frame in each tile, the cursor at the right time, every event."""

import gc
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageColor

from jepaflow.cli import view
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.data.types import Feature
from jepaflow.data.writer import DatasetWriter
from jepaflow.evaluation.contact_sheet import GAP, MARGIN, TILE, ContactSheet
from jepaflow.evaluation.drawing import CURSOR, EVENT, elide, fit, font, wrap
from jepaflow.evaluation.episode_view import EpisodeView, Event, Trace, find_events, find_traces
from jepaflow.evaluation.film import open_film
from jepaflow.evaluation.film_traces import TracePlate, _tick_words
from jepaflow.evaluation.view_sources import Choice, views
from jepaflow.sims.collect import CollectConfig, collect
from tests.data.builders import FPS, HEIGHT, LENGTHS, TOP, WIDTH, clip, features, frame_seen, make_v2, make_v3, rows

HEADING = 53
"""px of an episode's title and one line of task on a contact sheet."""


def is_colour(picture: np.ndarray, colour: str, tolerance: int = 40) -> np.ndarray:
    return np.abs(picture.astype(int) - ImageColor.getrgb(colour)).max(-1) < tolerance


def made_up(length: int = 20, fps: float = 10.0, **changes: object) -> EpisodeView:
    """An episode whose frame t is grey of level 10 t."""

    def pictures(camera: str, only: np.ndarray | None) -> Iterator[np.ndarray | None]:
        for number in range(length) if only is None else only:
            yield np.full((40, 60, 3), 10 * number % 250, dtype=np.uint8)

    given = {"task": "", "cameras": ("front",), "pictures": pictures, **changes}
    return EpisodeView("made_up", 0, length, fps, **given)  # type: ignore[arg-type]


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


# What is shown --------------------------------------------------------------------------------------------------------


def test_only_one_quantity_shares_a_panel() -> None:
    values = {
        "observation.state": np.zeros((5, 2), np.float32),
        "action": np.ones((5, 3), np.float32),
        "observation.environment_state": np.zeros((5, 9), np.float32),
    }

    def described(unit: str) -> dict[str, Feature]:
        return {
            "observation.state": Feature("observation.state", "float32", (2,), ("pan", "lift"), "rad"),
            "action": Feature("action", "float32", (3,), ("pan", "lift", "gripper"), unit),
            "observation.environment_state": Feature("observation.environment_state", "float32", (9,), ("x",) * 9),
        }

    together, units = find_traces(described("rad"), values)
    assert [t.name for t in together] == ["pan", "lift", "gripper"] and units == ("rad", "rad")
    assert [(t.state is None, t.action is None) for t in together] == [(False, False), (False, False), (True, False)]
    apart, units = find_traces(described("rad/s"), values)
    assert [t.name for t in apart] == ["pan", "lift", "pan", "lift", "gripper"] and units == ("rad", "rad/s")
    silent, units = find_traces(described("unknown"), values)
    assert len(silent) == 3 and units == ("rad", "")
    del values["observation.state"], values["action"]
    rest, _ = find_traces(described("rad"), values)  # names that are not unique are numbered
    assert [t.name for t in rest] == [f"dim_{i}" for i in range(9)]


def test_events_are_where_something_begins() -> None:
    event = np.array(["", "", "reach", "reach", "", "grasp", "lift", "", "", ""], dtype=object)
    done = np.zeros((10, 1), dtype=bool)
    done[9] = True
    code = np.array([0, 0, 0, 0, 0, 0, 0, 2, 0, 3])
    found = find_events(
        {"event": event, "next.done": done, "code": code, "same": np.full(10, 4), "counter": np.arange(10)},
        {"code": ["none", "drop", "missed_grasp"]},
    )
    assert [(e.frame, e.text) for e in found] == [
        (2, "reach"),
        (5, "grasp"),
        (6, "lift"),
        (7, "missed grasp"),
        (9, "done"),
        (9, "code 3"),
    ]
    assert find_events({"phase": np.array([1, 1, 2, 2, 2]), "gap": np.array([np.nan, np.nan, 1, 1, 1])}) == (
        Event(0, "phase 1"),
        Event(2, "phase 2"),
        Event(2, "gap 1"),
    )
    assert find_events({"empty": np.zeros(0)}) == ()


def test_text_columns_and_words_for_codes_come_from_the_dataset(tmp_path: Path) -> None:
    described = {
        **features(),
        "event": {"dtype": "string", "shape": [1]},
        "code": {"dtype": "int64", "shape": [1], "labels": ["none", "slip"]},
    }
    with DatasetWriter(tmp_path / "set", FPS, described) as writer:
        for episode, length in enumerate((20, 24)):
            words, codes = np.full((length, 1), "", dtype="U20"), np.zeros((length, 1), dtype=np.int64)
            words[5 + episode], codes[12] = "grasp", 1
            columns = {**rows(episode, length), "event": words, "code": codes}
            writer.add_episode(columns, {TOP: clip(episode, length)}, "task")
    for episode, shown in enumerate(views(str(tmp_path / "set"), Choice())):
        assert [(e.frame, e.text) for e in shown.events] == [(5 + episode, "grasp"), (12, "slip")] and shown.eventful
        assert shown.units == ("m", "m") and [t.name for t in shown.traces] == ["x", "y", "z", "dx", "dy"]


# Contact sheet --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["v3", "images", "v2"])
def test_every_tile_is_the_frame_of_its_time(tmp_path: Path, layout: str) -> None:
    root = tmp_path / "set"
    if layout == "v2":
        make_v2(root)
    else:
        make_v3(root, kind="image" if layout == "images" else "video")
    output = tmp_path / "sheet.png"
    args = view.Args(str(root), output=output, episodes=(1,), columns=5, json=tmp_path / "shown.json")
    assert view.run(args) == 0
    sheet = np.asarray(Image.open(output))
    width = round(TILE * WIDTH / HEIGHT)
    numbers = np.linspace(0, LENGTHS[1] - 1, 5).round().astype(int)
    for column, number in enumerate(numbers):
        left = MARGIN + column * (width + GAP)
        tile = sheet[MARGIN + HEADING : MARGIN + HEADING + TILE, left : left + width]
        small = np.asarray(Image.fromarray(tile).resize((WIDTH, HEIGHT), Image.Resampling.BOX))
        assert abs(frame_seen(small) - number) <= 1  # 1: the tile is not a whole multiple of the frame
    facts = read_json(tmp_path / "shown.json")
    assert facts["episodes"][0]["frames"] == LENGTHS[1] and facts["episodes"][0]["cameras"] == ["top"]
    assert facts["files"][str(output)] == {"height": sheet.shape[0], "width": sheet.shape[1]}


def test_short_episodes_broken_frames_and_events_fit_on_a_sheet(tmp_path: Path) -> None:
    def broken(camera: str, only: np.ndarray | None) -> Iterator[np.ndarray | None]:
        yield from (None for _ in range(3))

    sheet = ContactSheet(8)
    sheet.add(made_up(3, events=(Event(1, "grasp"),), eventful=True))
    sheet.add(made_up(3, pictures=broken, cameras=("a", "b")))
    height, width = sheet.save(tmp_path / "sheet.png")
    picture = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert picture.shape == (height, width, 3) and is_colour(picture, EVENT).sum() > 30
    with pytest.raises(JepaflowError, match="columns"):
        ContactSheet(0)
    with pytest.raises(JepaflowError, match="no pictures"):
        sheet.add(made_up(3, cameras=()))


# Film -----------------------------------------------------------------------------------------------------------------


def test_film_shows_every_frame_and_moves_the_cursor(tmp_path: Path) -> None:
    root, path = make_v3(tmp_path / "set"), tmp_path / "film.mp4"
    assert view.run(view.Args(str(root), mp4=path, episodes=(0, 2), json=tmp_path / "film.json")) == 0
    frames = decode(path)
    facts = read_json(tmp_path / "film.json")["files"][str(path)]
    assert facts == {
        "frames": LENGTHS[0] + LENGTHS[2],
        "height": frames.shape[1],
        "width": frames.shape[2],
        "seconds": (LENGTHS[0] + LENGTHS[2]) / FPS,
    }
    assert len(frames) == LENGTHS[0] + LENGTHS[2]
    bars, cursors = [], []
    for frame in frames:
        bright = (frame[150:200].min(-1) > 230).mean(0)[170:790] > 0.5  # the bar in the upper half of the picture
        bars.append(np.flatnonzero(bright).mean())
        cursors.append(np.flatnonzero(is_colour(frame[560:], CURSOR, 60).any(0))[-1])  # of the rightmost panel
    for begin, length in ((0, LENGTHS[0]), (LENGTHS[0], LENGTHS[2])):
        for track in (bars, cursors):
            steps = np.diff(track[begin : begin + length])
            assert (steps > 0).all() and steps.std() < 0.2 * steps.mean() + 1


def test_episodes_of_another_rate_keep_their_speed(tmp_path: Path) -> None:
    with open_film(tmp_path / "film.mp4") as film:
        for fps, length in ((10.0, 20), (20.0, 20), (5.0, 20), (10.0, 1)):
            film.add(made_up(length, fps))
    assert film.facts()["frames"] == len(decode(tmp_path / "film.mp4")) == 20 + 10 + 40 + 1


def test_film_streams(tmp_path: Path) -> None:
    alive, most = 0, 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def pictures(camera: str, only: np.ndarray | None) -> Iterator[np.ndarray | None]:
        nonlocal alive, most
        for number in range(40) if only is None else only:
            frame = np.full((40, 60, 3), number, dtype=np.uint8)
            weakref.finalize(frame, gone)
            alive += 1
            most = max(most, alive)
            yield frame
            del frame

    with open_film(tmp_path / "film.mp4") as film:
        film.add(made_up(40, pictures=pictures, cameras=("a", "b", "c")))
    gc.collect()
    assert most <= 7  # two per camera: the one shown and the one that follows


def test_an_interrupted_film_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_film(tmp_path / "film.mp4") as film:
        film.add(made_up(3))
        raise KeyboardInterrupt
    with pytest.raises(JepaflowError, match="no episode to film"), open_film(tmp_path / "film.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_traces_of_any_kind_are_drawn_with_their_events() -> None:
    time = np.linspace(0, 6, 50)
    odd = [
        Trace("wave", np.sin(time), np.cos(time)),
        Trace("constant", np.full(50, 3.0)),
        Trace("hole", np.where(time > 3, np.nan, time)),
        Trace("nothing", np.full(50, np.nan)),
        Trace("huge $x_1$ 物", np.linspace(1e7, 2e7, 50)),
    ]
    odd += [Trace(f"joint_{i}", np.sin(time + i)) for i in range(45)]
    events = tuple(Event(10 * i, f"event {i} with a rather long name") for i in range(5))
    for count in (0, 5, 50):
        shown = made_up(50, traces=tuple(odd[:count]), events=events, eventful=True, units=("rad", "rad/s"))
        plate = TracePlate(shown, 960)
        first, last = plate.at(0), plate.at(49)
        assert first.shape == (plate.height, 960, 3) and plate.height % 2 == 0
        assert (is_colour(first, EVENT).any(0)).sum() > 5  # lines and names
        drawn = min(count, 42) + 1  # the panels and the timeline
        for picture, other in ((first, last), (last, first)):
            moved = (picture != other).any(-1) & is_colour(picture, CURSOR, 2)
            columns = np.flatnonzero(moved.any(0))
            assert len(columns) >= 2 and moved.sum() >= 2 * 10 * drawn


@pytest.mark.parametrize("ticks", [[0.0, 0.5, 1.0], [-0.03085, -0.03080, -0.03075], [1e7, 1.5e7, 2e7], [-20, 0, 20]])
def test_tick_labels_differ_and_fit(ticks: list[float]) -> None:
    words = _tick_words(ticks)
    assert len(set(words)) == len(ticks) and max(map(len, words)) <= 9
    assert np.allclose([float(word) for word in words], ticks, atol=0.2 * (ticks[1] - ticks[0]))


def test_pictures_and_words_keep_within_their_cells() -> None:
    tall = fit(np.full((90, 30, 3), 200, dtype=np.uint8), 60, 100)
    assert tall.shape == (60, 100, 3) and (tall[:, 40:60] == 200).all() and (tall[:, :39] != 200).all()
    assert np.array_equal(np.unique(fit(np.eye(4, dtype=np.uint8)[..., None].repeat(3, 2) * 255, 40, 40)), [0, 255])
    assert fit(None, 20, 30).shape == (20, 30, 3)
    face = font(12)
    lines = wrap("put the red cube into the blue bin " * 5, face, 200, 2)
    assert len(lines) == 2 and all(face.getlength(line) <= 200 for line in lines) and lines[-1].endswith("…")
    assert wrap("", face, 200, 2) == [] and elide("short", face, 200) == "short"


# Worlds, recordings, mistakes -----------------------------------------------------------------------------------------


def test_a_world_shows_what_would_be_collected(tmp_path: Path) -> None:
    config = CollectConfig("two_room", 2, image_size=32)
    collect(tmp_path / "set", config)
    acted = list(views("two_room", Choice(episodes=(0, 1), image_size=32)))
    read = list(views(str(tmp_path / "set"), Choice()))
    assert [a.length for a in acted] == [r.length for r in read] and acted[0].task == read[0].task != ""
    for a, r in zip(acted, read, strict=True):
        assert a.cameras == r.cameras and a.units == r.units and a.fps == r.fps
        assert [t.name for t in a.traces] == [t.name for t in r.traces] != []
        for mine, theirs in zip(a.traces, r.traces, strict=True):
            for x, y in ((mine.state, theirs.state), (mine.action, theirs.action)):
                assert (x is None) == (y is None) and (x is None or np.array_equal(x, y))
        for mine, theirs in zip(a.pictures("top", None), r.pictures("top", None), strict=True):
            assert np.abs(mine.astype(int) - theirs).mean() < 8  # the dataset's video is compressed


def test_command_draws_a_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert view.run(view.Args("two_room", episodes=(0,), image_size=32, columns=3)) == 0
    with Image.open(tmp_path / "view" / "two_room.png") as sheet:
        assert sheet.width > 3 * TILE


def test_recording_holds_pictures_series_and_events(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    from rerun.chunk import RrdReader

    root, path = make_v3(tmp_path / "set"), tmp_path / "out.rrd"
    assert view.run(view.Args(str(root), rrd=path, episodes=(0, 1))) == 0
    reader = RrdReader(path)
    assert len(reader.recordings()) == len(reader.blueprints()) == 1
    counts: dict[str, int] = {}
    for chunk in reader.stream():
        if not chunk.is_static:
            counts[chunk.entity_path] = counts.get(chunk.entity_path, 0) + chunk.num_rows
            if "camera" in chunk.entity_path:
                assert {"frame", "time"} <= set(chunk.timeline_names)
    for episode in (0, 1):
        for entity in ("camera/top", "state", "action"):
            assert counts[f"/episode_{episode}/{entity}"] == LENGTHS[episode]


def test_without_the_extra_one_sentence_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(JepaflowError, match=r"jepaflow\[rerun\]"):
        view.run(view.Args("two_room", rrd=tmp_path / "out.rrd"))
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_named(tmp_path: Path) -> None:
    root = str(make_v3(tmp_path / "set"))
    for args, words in (
        (view.Args(root, episodes=(7,)), "no episode 7. Present are 0-2"),
        (view.Args(root, episodes=()), "no episode was chosen"),
        (view.Args(root, episodes=(-1,)), "no episode -1"),
        (view.Args(root, cameras=("wrist",)), "no camera 'wrist'. Its cameras: top"),
        (view.Args("two_room", cameras=("wrist",)), "no camera 'wrist'"),
        (view.Args("no_such_thing"), "neither a dataset on disk nor an environment"),
        (view.Args(str(tmp_path / "absent")), "does not exist"),
    ):
        with pytest.raises(JepaflowError, match=words.replace(".", r"\.")):
            view.run(args)
