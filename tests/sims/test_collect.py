"""Collecting: reproducible, resumable, shared by processes, and exact enough to reset the simulator from."""

import hashlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jepaflow.cli import convert as convert_command
from jepaflow.cli import view as view_command
from jepaflow.cli.collect import Args, run
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.data.doctor import examine
from jepaflow.data.store import Store
from jepaflow.sims import collect as module
from jepaflow.sims.collect import CollectConfig, Recording, collect, record_episode
from jepaflow.sims.registry import WorldOptions, find_world

STATE = "observation.environment_state"
ARM = CollectConfig(
    "so101/pick_place",
    episodes=5,
    steps=(6, 9),
    image_size=32,
    mix={"expert": 2.0, "play": 1.0, "babble": 1.0},
    world=WorldOptions(renderer="ray", vary=("object", "bin.color", "distractors")),
)
TINY = CollectConfig(episodes=4, steps=(10, 14), image_size=16)


def table(root: Path) -> dict[str, np.ndarray]:
    """Read the dataset's numbers, all files in order."""
    read = pq.ParquetDataset(sorted(root.glob("data/*/*.parquet"))).read()
    return {key: np.stack(read[key].to_numpy()) for key in (STATE, "observation.state", "action", "episode_index")}


def files(root: Path) -> dict[str, str]:
    """Return the digest of every file by its place in the dataset."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def replace(config: CollectConfig, **changes: object) -> CollectConfig:
    """Return the configuration with other values."""
    return CollectConfig(**{**{name: getattr(config, name) for name in config.__dataclass_fields__}, **changes})


def killed(index: int) -> None:
    """Record an episode, but die of SIGKILL at the third: what a worker of a machine without memory does."""
    if index == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    module._record(index)


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of the arm that one process collected in one go."""
    root = tmp_path_factory.mktemp("collected") / "arm"
    assert collect(root, ARM) == (5, 5)
    return root


# Exact ----------------------------------------------------------------------------------------------------------------


def test_the_recorded_state_and_actions_replay_to_the_recorded_states() -> None:
    entry = find_world("two_room")
    world = entry.make(16)
    episode = record_episode(entry, world, CollectConfig(episodes=1, image_size=16), 0)
    pictures = episode.pictures[world.cameras[0]]
    assert 60 <= len(pictures) <= 100
    world.set_state(episode.rows[STATE][0])
    for t, action in enumerate(episode.rows["action"]):
        assert np.array_equal(world.observation()["state"], episode.rows["observation.state"][t])
        assert np.array_equal(world.observation()["pixels"], pictures[t])
        world.advance(action)


@pytest.mark.parametrize("renderer", ["ray", "auto"])
@pytest.mark.parametrize("behaviour", ["failures", "babble"])
def test_an_arms_episode_replays_bit_by_bit_from_any_row_in_another_world(behaviour: str, renderer: str) -> None:
    options = WorldOptions(("laptop", "phone", "wrist"), renderer, vary=("all",))
    config = CollectConfig(
        "so101/pick_place", 1, steps=(60, 60), image_size=16, seed=3, mix={behaviour: 1.0}, world=options
    )
    entry = find_world(config.env)
    episode = record_episode(entry, entry.make(16, options), config, 0)
    assert episode.behaviour == behaviour
    assert list(episode.pictures) == ["laptop", "phone", "wrist"]
    world = entry.make(16, options)  # has never seen this episode's sizes, colours, obstacles
    for start in (0, 33, 59):
        world.reset(seed=start)
        world.set_state(episode.rows[STATE][start])
        for t in range(start, 60):
            assert np.array_equal(world.get_state(), episode.rows[STATE][t]), (start, t)
            if t < start + 3 or t == 59:
                seen = world.observation()
                assert np.array_equal(seen["state"], episode.rows["observation.state"][t])
                for camera, key in (("laptop", "pixels"), ("phone", "phone"), ("wrist", "wrist")):
                    assert np.array_equal(seen[key], episode.pictures[camera][t]), (start, t, camera)
            world.advance(episode.rows["action"][t])


def test_an_expert_ends_its_episode_a_little_after_its_task() -> None:
    entry = find_world("so101/reach")
    config = CollectConfig("so101/reach", 1, image_size=8, mix={"expert": 1.0}, world=WorldOptions(renderer="ray"))
    episode = record_episode(entry, entry.make(8, config.world), config, 0)
    assert 30 < len(episode.rows["action"]) < entry.longest
    done = list(entry.event_labels).index("task_done")
    assert (episode.rows["event"] == done).sum() == 1


# Shared and interrupted -----------------------------------------------------------------------------------------------


def test_two_processes_write_the_same_dataset_file_by_file(arm: Path, tmp_path: Path) -> None:
    assert collect(tmp_path / "two", replace(ARM, workers=2)) == (5, 5)
    assert files(tmp_path / "two") == files(arm)


def test_after_a_worker_was_killed_a_rerun_ends_with_the_same_dataset(
    arm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "killed"
    monkeypatch.setattr(module, "_record", killed)
    with pytest.raises(JepaflowError, match=r"worker process died.*run the command again") as caught:
        collect(root, replace(ARM, workers=2))
    assert str(caught.value).count("\n") == 0
    assert not (root / "meta" / "info.json").exists()
    monkeypatch.undo()
    episodes, new = collect(root, ARM)
    assert episodes == 5
    assert 1 <= new <= 5
    assert files(root) == files(arm)


def test_an_interrupted_collection_continues_to_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collect(tmp_path / "whole", TINY)

    def dies(*arguments: object) -> Recording:
        if arguments[3] == 2:
            raise KeyboardInterrupt
        return record_episode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "record_episode", dies)
    with pytest.raises(KeyboardInterrupt):
        collect(tmp_path / "halves", TINY)
    assert not (tmp_path / "halves" / "meta" / "info.json").exists()
    monkeypatch.undo()
    assert collect(tmp_path / "halves", TINY) == (4, 2)
    assert files(tmp_path / "halves") == files(tmp_path / "whole")


def test_asking_for_more_extends_and_asking_for_no_more_does_nothing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    assert collect(root, replace(TINY, episodes=2)) == (2, 2)
    first, before = table(root), files(root)
    assert collect(root, replace(TINY, episodes=2)) == (2, 0)
    assert files(root) == before
    assert collect(root, replace(TINY, episodes=3)) == (3, 1)
    more = table(root)
    assert collect(root, replace(TINY, episodes=1)) == (3, 0)
    assert len(np.unique(more["episode_index"])) == 3
    assert np.array_equal(more["action"][: len(first["action"])], first["action"])
    collect(tmp_path / "at once", replace(TINY, episodes=3))
    for key, values in table(tmp_path / "at once").items():
        assert np.array_equal(values, more[key]), key


# Refused --------------------------------------------------------------------------------------------------------------


def test_a_folder_of_something_else_and_other_settings_are_refused(arm: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("keep me")
    with pytest.raises(JepaflowError, match="not made by"):
        collect(tmp_path / "mine", CollectConfig(episodes=1))
    before = files(arm)
    for changes, sentence in (
        ({"seed": 1}, "seed 0 -> 1"),
        ({"mix": {"play": 1.0}}, "mix"),
        ({"image_size": 48}, "image_size 32 -> 48"),
        ({"world": WorldOptions(renderer="ray")}, "vary"),
        ({"world": WorldOptions(cameras=("wrist",))}, "cameras"),
        ({"steps": (100, 160)}, "steps"),
        ({"env": "so101/lift"}, "env so101/pick_place -> so101/lift"),
    ):
        with pytest.raises(JepaflowError, match=sentence):
            collect(arm, replace(ARM, **changes))
    assert files(arm) == before


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"env": "three_room"}, "no environment 'three_room'"),
        ({"episodes": 0}, "nothing to collect"),
        ({"steps": (0, 3)}, "cannot be drawn"),
        ({"steps": (5, 3)}, "cannot be drawn"),
        ({"image_size": 63}, "even size"),
        ({"seed": -1}, "not negative"),
        ({"workers": 0}, "at least 1"),
        (
            {"env": "so101/reach", "mix": {"failures": 1.0}},
            "no behaviour 'failures'. Choose among: expert, play, babble",
        ),
        ({"mix": {"play": 1.0}}, "no behaviour 'play'"),
        ({"mix": {"expert": -1.0}}, "cannot be drawn from"),
        ({"mix": {"expert": 0.0}}, "cannot be drawn from"),
        ({"mix": {"expert": float("nan")}}, "cannot be drawn from"),
        ({"mix": {}}, "cannot be drawn from"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, sentence: str) -> None:
    with pytest.raises(JepaflowError, match=sentence):
        CollectConfig(**settings)


def test_choices_that_a_world_does_not_have_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for env, options, sentence in (
        ("two_room", WorldOptions(vary=("light",)), "no cameras, factors"),
        ("so101/reach", WorldOptions(vary=("weather",)), "no factor 'weather'"),
        ("so101/reach", WorldOptions(fix=("obstacle",)), "fixes nothing"),
        ("so101/reach", WorldOptions(cameras=("ceiling",)), "no such cameras"),
        ("so101/reach", WorldOptions(cameras=("laptop", "laptop")), "named twice"),
        ("so101/push", WorldOptions(fix=("obstacle=wall",)), "has no factor obstacle"),
        ("so101/lift", WorldOptions(fix=("object.place=0.38,0",)), "does not reach"),
        ("so101/reach", WorldOptions(arm_mjcf=tmp_path / "none.xml"), "no MJCF file"),
    ):
        with pytest.raises(JepaflowError, match=sentence):
            collect(tmp_path / "data", CollectConfig(env, 1, image_size=16, world=options))
    assert not (tmp_path / "data").exists()


# What is in it --------------------------------------------------------------------------------------------------------


def test_events_behaviours_cameras_and_sentences_are_in_the_dataset(arm: Path) -> None:
    info = read_json(arm / "meta" / "info.json")
    features, entry = info["features"], find_world(ARM.env)
    assert info["fps"] == 30
    assert info["robot_type"] == "so101"
    assert features["event"]["labels"] == list(entry.event_labels)
    assert features["behaviour"]["labels"] == list(entry.behaviours)
    assert [key for key in features if "images" in key] == ["observation.images.laptop", "observation.images.phone"]
    assert features["action"]["names"][5] == "gripper.pos"
    world = entry.make(32, ARM.world)
    assert features[STATE]["names"] == list(world.state_names)
    read = pq.ParquetDataset(sorted(arm.glob("data/*/*.parquet"))).read().to_pydict()
    for number in range(5):
        expected = record_episode(entry, world, ARM, number)
        mine = [i for i, episode in enumerate(read["episode_index"]) if episode == number]
        assert {read["behaviour"][i] for i in mine} == {list(entry.behaviours).index(expected.behaviour)}
        assert [read["event"][i] for i in mine] == expected.rows["event"].tolist()
        assert np.array_equal(np.stack([read["action"][i] for i in mine]), expected.rows["action"])
    assert set(read["behaviour"]) <= {0, 2, 3}  # the mix has no failures
    assert len(set(read["behaviour"])) > 1


def test_sentences_are_paraphrased_and_name_the_colours_that_are_seen() -> None:
    entry = find_world(ARM.env)
    world = entry.make(8, WorldOptions(renderer="ray", vary=("object.color", "bin.color")))
    words = []
    for seed in range(12):
        world.reset(seed=seed)
        words.append(world.task)
    assert len(set(words)) >= 6
    assert len({colour for text in words for colour in ("red", "blue", "green", "purple") if f"{colour} " in text}) >= 3
    fixed = entry.make(8, WorldOptions(renderer="ray", fix=("object.color=purple",)))
    fixed.reset(seed=1)
    assert "purple" in fixed.task


def test_the_arms_dataset_passes_the_doctor_and_converts(arm: Path, tmp_path: Path) -> None:
    diagnosis = examine(arm)
    assert diagnosis.count("error") == 0, diagnosis.findings
    assert (diagnosis.episodes, diagnosis.cameras) == (5, ["laptop", "phone"])
    out = tmp_path / "arm.h5"
    assert convert_command.run(convert_command.Args(str(arm), out, image_size=32)) == 0
    assert Store(out).num_episodes == 5


def test_an_arms_expert_can_be_looked_at(tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    picture = tmp_path / "reach.png"
    arguments = view_command.Args(
        "so101/reach", picture, episodes=(0,), image_size=48, columns=3, renderer="ray", json=facts
    )
    assert view_command.run(arguments) == 0
    shown = json.loads(facts.read_text())
    assert picture.stat().st_size > 1000
    assert shown["episodes"][0]["cameras"] == ["laptop", "phone"]
    assert any("task" in event["text"] for event in shown["episodes"][0]["events"])


def test_the_command_writes_its_figures(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    assert run(Args(tmp_path / "data", episodes=1, steps=(5, 5), image_size=16, json=figures)) == 0
    assert '"new_episodes": 1' in figures.read_text()
