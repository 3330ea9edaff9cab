"""Named protocols: every committed trial fits its world, is unsolved at the start, and is solved by its own actions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.evaluation.named import PROTOCOLS, TRIALS, draw_protocol, load_protocol, protocol_file
from jepaflow.evaluation.trials import Trials
from jepaflow.sims.registry import find_world


@pytest.mark.parametrize("name", PROTOCOLS)
def test_committed_trials_replay_to_their_goals(name: str) -> None:
    trials, recipe = load_protocol(name), PROTOCOLS[name]
    assert (trials.env, trials.offset, trials.budget) == (recipe.env, recipe.offset, recipe.budget)
    assert len(trials) == TRIALS >= 200
    world = find_world(trials.env).make(16)
    for i in range(0, TRIALS, 70):
        world.set_state(trials.starts[i])
        if not trials.by_task:
            world.set_goal(trials.goals[i])
        assert not world.is_success()
        values = [dict(zip(world.state_names, map(float, state))) for state in (trials.starts[i], trials.goals[i])]
        assert recipe.wanted(*values)
        for action in trials.actions[i]:
            world.advance(action)
        assert world.is_success()
        if trials.by_task:  # the last action is held to the end of the longest trial
            continue
        assert world.distance() < 1e-6
        # The discs' state holds the target too, which is another now.
        if trials.env not in ("two_room", "maze", "maze_slow"):
            assert np.array_equal(world.get_state(), trials.goals[i])  # bit by bit


def test_drawing_is_a_function_of_the_name_and_gives_what_is_committed() -> None:
    again = draw_protocol("two_room_25")
    kept = load_protocol("two_room_25")
    for name in ("starts", "goals", "actions", "episode"):
        assert np.array_equal(getattr(again, name), getattr(kept, name)), name
    assert again.excluded == kept.excluded > 0


def test_shares_are_disjoint_and_equal() -> None:
    trials = load_protocol("two_room_25")
    parts = [trials.part(i, 3) for i in range(3)]
    assert [len(part) for part in parts] == [70, 70, 70]
    assert np.array_equal(np.concatenate([part.starts for part in parts]), trials.starts)
    assert len(trials.first(5)) == 5 and len(trials.first(10_000)) == TRIALS
    with pytest.raises(JepaflowError, match="shared"):
        trials.first(2).part(0, 3)


def test_trials_are_saved_exactly(tmp_path: Path) -> None:
    trials = replace(load_protocol("two_room_25").first(3), made_by="here")
    trials.save(tmp_path / "t.safetensors")
    back = Trials.load(tmp_path / "t.safetensors")
    assert np.array_equal(back.starts, trials.starts) and np.array_equal(back.actions, trials.actions)
    assert (back.env, back.offset, back.budget, back.excluded, back.made_by) == ("two_room", 25, 50, 9, "here")


@pytest.mark.parametrize("content", [b"", b"not a file of tensors"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.safetensors"
    path.write_bytes(content)
    with pytest.raises(JepaflowError, match="holds no trials"):
        Trials.load(path)
    with pytest.raises(JepaflowError, match="holds no trials"):
        Trials.load(tmp_path / "absent.safetensors")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(JepaflowError, match="two_room_25"):
        load_protocol("so101/fly_25")
    assert protocol_file("so101/push_25").name == "so101_push_25.safetensors"
