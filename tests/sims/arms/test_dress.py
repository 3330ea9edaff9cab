"""A state in another look is the state that a world with that look would have been in."""

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.evaluation.named import load_protocol
from jepaflow.sims.arms.desk import DISTRACTORS
from jepaflow.sims.arms.dress import dress
from jepaflow.sims.arms.env import ArmEnv

LOOKS = [
    ("reach", {"light.level": "0.25"}),
    ("reach", {"light.place": "-120"}),
    ("push", {"table.color": "0.35,0.45,0.55", "camera.phone": "0.03,0.02,0.02"}),
    ("push", {"object.color": "green"}),
    ("pick_place", {"object.color": "white", "bin.color": "green"}),
]


def touching(world: ArmEnv) -> bool:
    """Whether a distractor touches anything but the table."""
    desk = world.desk
    clutter = {desk.model.body(f"distractor{i}").id for i in range(DISTRACTORS)}
    pairs, table = desk.data.contact.geom[: desk.data.ncon], desk.model.geom("table").id
    bodies = desk.model.geom_bodyid[pairs].tolist()
    return any(clutter & set(two) for two, geoms in zip(bodies, pairs) if table not in geoms)


@pytest.mark.parametrize(("task", "fix"), LOOKS)
def test_it_is_what_the_world_itself_would_show(task: str, fix: dict[str, str]) -> None:
    plain, other = ArmEnv(task=task, image_size=32), ArmEnv(task=task, image_size=32, fix=fix)
    state, pictures = plain.reset(seed=5)[1]["state"], other.reset(seed=5)[0]
    wanted = other.get_state()
    found = dress(other, state[None])[0]
    np.testing.assert_array_equal(found, wanted)
    assert not np.array_equal(found, state)
    plain.set_state(found)  # a world of the usual look draws it as it was dressed
    for key, picture in plain.observation().items():
        np.testing.assert_array_equal(picture, pictures[key])


def test_clutter_is_the_same_from_start_to_goal_and_touches_nothing() -> None:
    trials = load_protocol("so101/push_25").first(10)
    world = ArmEnv(task="push", image_size=16, fix={"distractors": 3})
    names = list(world.state_names)
    mocap = [i for i, name in enumerate(names) if name.startswith("mocap")]
    others = np.setdiff1d(np.arange(len(names)), mocap)
    for pair in zip(trials.starts, trials.goals, strict=True):
        dressed = dress(world, np.stack(pair))
        np.testing.assert_array_equal(dressed[:, others], np.stack(pair)[:, others])
        np.testing.assert_array_equal(dressed, dress(world, np.stack(pair)))
        places = []
        for state in dressed:
            world.set_state(state)
            assert all(world.desk.is_there(f"distractor{i}") for i in range(DISTRACTORS))
            assert not touching(world)
            places.append(np.stack([world.desk.place(f"distractor{i}") for i in range(DISTRACTORS)]))
        np.testing.assert_array_equal(*places)


def test_what_is_no_look_is_refused() -> None:
    for task, name, value, message in (
        ("push", "object.size", 1.2, r"object\.size changes more than the look"),
        ("sort", "object.color", "blue", "sort has several cubes or bins"),
        ("place", "bin.color", "red", "place has several cubes or bins"),
    ):
        world = ArmEnv(task=task, image_size=16, fix={name: value})
        with pytest.raises(JepaflowError, match=message):
            dress(world, world.get_state()[None])
    world = ArmEnv(task="push", image_size=16, fix={"light.level": 0.2})
    with pytest.raises(JepaflowError, match="a state of so101/push is"):
        dress(world, np.zeros((2, 5)))


@pytest.mark.parametrize(("protocol", "trial"), [("reach_50", 47), ("push_50", 90)])
def test_clutter_gives_way_to_the_whole_arm(protocol: str, trial: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In these trials the first draw touches the arm beside the hand's straight way."""
    trials = load_protocol(f"so101/{protocol}").first(trial + 1)
    world = ArmEnv(task=protocol.partition("_")[0], image_size=16)

    def touched() -> bool:
        found = []
        dressed = trials.dressed(["distractors=3"])
        for state in (dressed.starts[trial], dressed.goals[trial]):
            world.set_state(state)
            found.append(touching(world))
        return any(found)

    assert not touched()
    monkeypatch.setattr("jepaflow.sims.arms.dress.TRIES", 1)
    assert touched()


def test_trials_in_another_look() -> None:
    trials = load_protocol("so101/reach_25").first(2)
    dark = trials.dressed(["light.level=0.25"])
    assert trials.dressed([]) is trials and dark.made_by.endswith("; light.level=0.25")
    assert not np.array_equal(dark.starts, trials.starts) and not np.array_equal(dark.goals, trials.goals)
    np.testing.assert_array_equal(dark.actions, trials.actions)
    for fix, message in (
        ("light.level", "fixes nothing"),
        ("light=1", "no factor 'light'"),
        ("bin.color=red", "has no"),
    ):
        with pytest.raises(JepaflowError, match=message):
            trials.dressed([fix])
    with pytest.raises(JepaflowError, match=r"light\.level is fixed twice"):
        trials.dressed(["light.level=0.2", "light.level=0.3"])
    with pytest.raises(JepaflowError, match="no cameras, factors or models"):
        load_protocol("two_room_25").dressed(["light.level=0.25"])
