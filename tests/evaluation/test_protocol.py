"""The start list: the same for the same seed, from held-out episodes only, without what is solved already."""

import json
from pathlib import Path

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.evaluation.protocol import ProtocolConfig, draw_starts
from jepaflow.evaluation.run import already_solved
from jepaflow.sims.registry import find_world


def never(start: np.ndarray, goal: np.ndarray) -> bool:
    """No candidate is solved."""
    return False


def test_the_list_follows_from_the_seed_alone(two_room_store: Store) -> None:
    config = ProtocolConfig(episodes=20)
    first = draw_starts(two_room_store, [5, 1, 2], config, never)
    assert first == draw_starts(two_room_store, (1, 2, 5, 5), config, never)  # order and repeats do not matter
    assert first != draw_starts(two_room_store, [5, 1, 2], ProtocolConfig(episodes=20, seed=1), never)
    longer = draw_starts(two_room_store, [5, 1, 2], ProtocolConfig(episodes=30), never)
    assert longer.starts[:20] == first.starts  # more starts keep the first ones


def test_starts_and_goals_lie_in_the_same_held_out_episode(two_room_store: Store) -> None:
    listed = draw_starts(two_room_store, [0, 7], ProtocolConfig(offset=10, episodes=40), never)
    assert len({(s.episode, s.step) for s in listed.starts}) == 40
    for start in listed.starts:
        assert start.episode in (0, 7)
        assert start.row == two_room_store.ep_offset[start.episode] + start.step
        assert start.goal_row - start.row == 10
        assert start.step + 10 < two_room_store.ep_len[start.episode]


def test_every_candidate_can_be_used_and_not_one_more(two_room_store: Store) -> None:
    length = int(two_room_store.ep_len[3])
    listed = draw_starts(two_room_store, [3], ProtocolConfig(offset=length - 1, episodes=1), never)
    assert (listed.candidates, listed.starts[0].step) == (1, 0)
    with pytest.raises(JepaflowError, match="only 1 starts"):
        draw_starts(two_room_store, [3], ProtocolConfig(offset=length - 1, episodes=2), never)
    with pytest.raises(JepaflowError, match="only 0 starts"):
        draw_starts(two_room_store, [3], ProtocolConfig(offset=length, episodes=1), never)
    with pytest.raises(JepaflowError, match="only 0 starts"):
        draw_starts(two_room_store, [], ProtocolConfig(episodes=1), never)


def test_solved_starts_are_left_out_and_counted(two_room_store: Store) -> None:
    world = find_world("two_room").make(8)
    solved = already_solved(world)
    config = ProtocolConfig(offset=4, episodes=60)
    listed = draw_starts(two_room_store, range(8), config, solved)
    states = two_room_store.read("state", listed.rows), two_room_store.read("state", listed.goal_rows)
    apart = np.hypot(*(states[0][:, :2] - states[1][:, :2]).T)
    assert apart.min() >= 16.0
    everything = draw_starts(two_room_store, range(8), ProtocolConfig(offset=4, episodes=listed.candidates), never)
    examined = 60 + listed.already_solved
    near = [
        np.hypot(*(two_room_store.read("state", np.array([s.row, s.goal_row]))[:, :2] * [[1], [-1]]).sum(0)) < 16.0
        for s in everything.starts[:examined]
    ]
    assert sum(near) == listed.already_solved > 0


def test_the_saved_list_can_be_read_back(two_room_store: Store, tmp_path: Path) -> None:
    config = ProtocolConfig(episodes=3)
    listed = draw_starts(two_room_store, [0, 1], config, never)
    listed.save(tmp_path / "starts.json", config, two_room_store)
    saved = json.loads((tmp_path / "starts.json").read_text())
    assert [start["row"] for start in saved["starts"]] == listed.rows.tolist()
    assert saved["protocol"]["seed"] == 0
    assert saved["already_solved_excluded"] == 0


def test_a_store_without_simulator_states_is_refused(two_room_store: Store) -> None:
    import copy

    bare = copy.copy(two_room_store)
    bare.columns = two_room_store.columns - {"state"}
    with pytest.raises(JepaflowError, match="no column 'state'"):
        draw_starts(bare, [0], ProtocolConfig(episodes=1), never)


@pytest.mark.parametrize("settings", [{"offset": 0}, {"budget": 0}, {"episodes": 0}])
def test_an_evaluation_of_nothing_is_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError):
        ProtocolConfig(**settings)
