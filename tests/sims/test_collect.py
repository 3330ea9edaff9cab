"""Collecting: reproducible, resumable, and exact enough to reset the simulator from."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jepaflow.cli.collect import Args, run
from jepaflow.common.errors import JepaflowError
from jepaflow.sims import collect as module
from jepaflow.sims.collect import CollectConfig, collect, record_episode
from jepaflow.sims.registry import find_world

STATE = "observation.environment_state"


def table(root: Path) -> dict[str, np.ndarray]:
    """Read the dataset's numbers, all files in order."""
    read = pq.ParquetDataset(sorted(root.glob("data/*/*.parquet"))).read()
    return {key: np.stack(read[key].to_numpy()) for key in (STATE, "observation.state", "action", "episode_index")}


def test_the_recorded_state_and_actions_replay_to_the_recorded_states() -> None:
    entry = find_world("two_room")
    world = entry.make(16)
    rows, pictures = record_episode(entry, world, CollectConfig(episodes=1, image_size=16), 0)
    assert 60 <= len(pictures) <= 100
    world.set_state(rows[STATE][0])
    for t, action in enumerate(rows["action"]):
        assert np.array_equal(world.observation()["state"], rows["observation.state"][t])
        assert np.array_equal(world.observation()["pixels"], pictures[t])
        world.advance(action)


def test_an_interrupted_collection_continues_to_the_same_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CollectConfig(episodes=4, steps=(10, 14), image_size=16)
    collect(tmp_path / "whole", config)

    def dies(*arguments: object) -> object:
        if arguments[3] == 2:
            raise KeyboardInterrupt
        return record_episode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "record_episode", dies)
    with pytest.raises(KeyboardInterrupt):
        collect(tmp_path / "halves", config)
    assert not (tmp_path / "halves" / "meta" / "info.json").exists()
    monkeypatch.undo()
    assert collect(tmp_path / "halves", config) == (4, 2)
    whole, halves = table(tmp_path / "whole"), table(tmp_path / "halves")
    for key, values in whole.items():
        assert np.array_equal(values, halves[key]), key


def test_asking_for_more_extends_and_asking_for_no_more_does_nothing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    assert collect(root, CollectConfig(episodes=2, steps=(5, 6), image_size=16)) == (2, 2)
    first = table(root)
    assert collect(root, CollectConfig(episodes=2, steps=(5, 6), image_size=16)) == (2, 0)
    assert collect(root, CollectConfig(episodes=3, steps=(5, 6), image_size=16)) == (3, 1)
    more = table(root)
    assert collect(root, CollectConfig(episodes=1, steps=(5, 6), image_size=16)) == (3, 0)
    assert len(np.unique(more["episode_index"])) == 3
    assert np.array_equal(more["action"][: len(first["action"])], first["action"])


def test_a_folder_of_something_else_and_other_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("keep me")
    with pytest.raises(JepaflowError, match="not made by"):
        collect(tmp_path / "mine", CollectConfig(episodes=1))
    collect(tmp_path / "data", CollectConfig(episodes=1, steps=(5, 5), image_size=16))
    with pytest.raises(JepaflowError, match="seed 0 -> 1"):
        collect(tmp_path / "data", CollectConfig(episodes=1, steps=(5, 5), image_size=16, seed=1))


@pytest.mark.parametrize(
    "settings",
    [{"env": "three_room"}, {"episodes": 0}, {"steps": (0, 3)}, {"steps": (5, 3)}, {"image_size": 63}, {"seed": -1}],
)
def test_settings_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError):
        CollectConfig(**settings)


def test_the_command_writes_its_figures(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    assert run(Args(tmp_path / "data", episodes=1, steps=(5, 5), image_size=16, json=figures)) == 0
    assert '"new_episodes": 1' in figures.read_text()
