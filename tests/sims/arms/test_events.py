"""Events: a missed grasp, a drop and a slip are labelled when they happen, and only then, whatever the actor thinks."""

from dataclasses import dataclass

import mujoco
import numpy as np
import pytest

from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.events import AIR, DONE, DROP, EVENTS, MISSED, NONE, SLIP, EventWatch
from jepaflow.sims.arms.expert import ArmExpert, ArmExpertConfig, Scripted
from jepaflow.sims.arms.play import Play


@dataclass(frozen=True)
class Frame:
    """One frame of an episode: the label, and the facts that it is judged by."""

    event: int
    phase: str
    height: float
    """of the first cube above its rest on the table, m"""
    between: bool
    """whether both jaws touch it"""


class Only(ArmExpert):
    """An expert whose attempts are spoilt as the test wants, one after the other."""

    spoils: tuple[str | None, ...] = ()

    def _spoilt(self) -> str | None:
        self.count = getattr(self, "count", -1) + 1
        return self.spoils[self.count] if self.count < len(self.spoils) else None


def watched(env: ArmEnv, actor: Scripted, steps: int = 500) -> list[Frame]:
    """Act an episode and watch it."""
    watch, desk, frames = EventWatch(env), env.desk, []
    for _ in range(steps):
        event = watch.now(actor.phase)
        height = float(desk.cube(0)[2] - desk.cube_half(0))
        frames.append(Frame(event, actor.phase, height, all(desk.touched(0))))
        env.advance(actor.act())
        if actor.done:
            break
    return frames


def spoilt(task: str, seed: int, *spoils: str | None) -> list[Frame]:
    """Act a task with these spoils."""
    env = ArmEnv("so101", task, 8, renderer="ray")
    env.reset(seed=seed)
    actor = Only(env, np.random.default_rng(seed), ArmExpertConfig())
    actor.spoils = spoils
    return watched(env, actor)


def labels(frames: list[Frame]) -> list[str]:
    """Return what happened, in order."""
    return [EVENTS[frame.event] for frame in frames if frame.event != NONE]


@pytest.mark.parametrize("task", ["lift", "pick_place", "stack"])
@pytest.mark.parametrize(
    ("spoil", "label"), [(None, []), ("miss", ["missed_grasp"]), ("drop", ["drop"]), ("slip", ["slip"])]
)
def test_a_deliberate_failure_is_labelled_once_and_mended(task: str, spoil: str | None, label: list[str]) -> None:
    frames = spoilt(task, 4, spoil)
    found = labels(frames)
    assert [name for name in found if name != "task_done"] == label
    again = task == "lift" and spoil in ("drop", "slip")  # high and held, lost, high and held again
    assert found.count("task_done") == 1 + again and found[-1] == "task_done"
    if label and found[0] != "task_done":
        assert found.index(label[0]) < found.index("task_done")


def test_every_kind_of_failure_in_one_episode_is_told_apart() -> None:
    found = labels(spoilt("lift", 1, "drop", "miss", "slip"))
    assert [name for name in found if name != "task_done"] == ["drop", "missed_grasp", "slip"]
    assert found[0] == found[-1] == "task_done"  # high and held before the first drop, and at last


@pytest.mark.parametrize(("spoil", "event"), [("drop", DROP), ("slip", SLIP)])
def test_a_loss_is_labelled_when_the_jaws_lose_the_cube_in_the_air(spoil: str, event: int) -> None:
    frames = spoilt("lift", 2, spoil)
    (at,) = [t for t, frame in enumerate(frames) if frame.event == event]
    assert frames[at - 1].between
    assert frames[at - 1].height > AIR
    assert not frames[at].between
    assert min(frame.height for frame in frames[at : at + 15]) < 0.002  # it falls to the table


def test_a_miss_is_labelled_when_the_jaws_have_closed_on_nothing() -> None:
    frames = spoilt("lift", 2, "miss")
    (at,) = [t for t, frame in enumerate(frames) if frame.event == MISSED]
    assert frames[at - 1].phase == "close"
    assert frames[at].phase == "lift"
    assert not frames[at].between
    assert max(frame.height for frame in frames[: at + 10]) < 0.002


def test_an_expert_without_deliberate_failures_is_judged_by_what_happens_too() -> None:
    """The cube is taken out of the jaws in mid-air: nobody planned it, and it is a drop."""
    env = ArmEnv("so101", "lift", 8, renderer="ray")
    env.reset(seed=0)
    expert, watch = ArmExpert(env, np.random.default_rng(0)), EventWatch(env)
    found, taken = [], False
    while not expert.done:
        found.append(watch.now(expert.phase))
        if not taken and env.desk.held(0) and env.desk.cube(0)[2] > 0.05:
            env.desk.put_cube(0, 0.2, -0.05, 0.0, 0.06)
            mujoco.mj_forward(env.desk.model, env.desk.data)
            taken = True
        env.advance(expert.act())
    assert taken
    assert [event for event in found if event != NONE] == [DROP, DONE]


def test_letting_go_on_purpose_and_random_motion_are_no_events() -> None:
    env = ArmEnv("so101", "pick_place", 8, renderer="ray")
    carried = 0
    for seed in (0, 1):
        env.reset(seed=seed)
        frames = watched(env, Play(env, np.random.default_rng(seed)), 300)
        carried += sum(frame.between and frame.height > 0.02 for frame in frames)
        assert DROP not in {frame.event for frame in frames if frame.phase == "release"}
        assert SLIP not in {frame.event for frame in frames}
    assert carried > 20  # it did let go of something


@pytest.mark.parametrize("seed", range(3))
def test_under_noise_every_label_has_its_fact_and_every_fact_its_label(seed: int) -> None:
    env = ArmEnv("so101", "pick_place", 8, renderer="ray")
    env.reset(seed=seed)
    expert = ArmExpert(env, np.random.default_rng(seed), ArmExpertConfig(noise=0.02, spoil=0.7))
    frames = watched(env, expert)
    for t in range(1, len(frames)):
        before, now = frames[t - 1], frames[t]
        lost = before.between and not now.between and now.height > AIR and now.phase != "release"
        carried = any(frame.between and frame.height > AIR for frame in frames[max(0, t - 2) : t])
        assert (now.event in (DROP, SLIP)) == (lost and carried), (t, now)
        closed = before.phase == "close" and now.phase != "close"
        if closed and not now.between:
            assert now.event == MISSED, t
        if now.event == MISSED:
            assert not now.between or now.height < AIR, t
    assert sum(frame.event == DONE for frame in frames) <= 1
    assert (DONE in {frame.event for frame in frames}) >= env.is_success()
