"""All worlds: Two-Room, the mazes, Push-T, Reacher, and every task of every arm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jepaflow.sims.arms.arm import MOTORS, Arm
from jepaflow.sims.arms.desk import project
from jepaflow.sims.arms.env import ARMS, ArmEnv
from jepaflow.sims.arms.events import EVENTS, EventWatch
from jepaflow.sims.arms.expert import ArmExpert, ArmExpertConfig
from jepaflow.sims.arms.play import Babble, Play
from jepaflow.sims.arms.tasks import TASKS, Task
from jepaflow.sims.disc import WORLD
from jepaflow.sims.expert import NoisyExpert
from jepaflow.sims.maze import ChangingDoors, MazeEnv, MazeExpert, Wanderer
from jepaflow.sims.maze_geometry import MazeConfig
from jepaflow.sims.push_t import PushTEnv
from jepaflow.sims.push_t import places as block_places
from jepaflow.sims.push_t_expert import PushTExpert
from jepaflow.sims.reacher import ReacherEnv
from jepaflow.sims.reacher_drawing import finger_places
from jepaflow.sims.reacher_expert import ReacherExpert
from jepaflow.sims.registry import Behaviour, WorldEntry, WorldOptions
from jepaflow.sims.two_room import TwoRoomEnv

NOISE = (0.002, 0.03)
"""rad: range of the noise's standard deviation on an arm expert's targets, drawn per episode, log-uniformly."""
SPOIL = 0.6
"""Chance that an attempt of the behaviour `failures` is spoilt."""


def _drawn(rng: np.random.Generator, spoil: float = 0.0) -> ArmExpertConfig:
    """Draw how an arm behaves in this episode."""
    noise = float(np.exp(rng.uniform(*np.log(NOISE))))
    return ArmExpertConfig(noise=noise, spoil=spoil, pace=float(rng.uniform(0.9, 1.25)))


def _expert(env: ArmEnv, rng: np.random.Generator) -> Behaviour:
    return ArmExpert(env, rng, _drawn(rng))


def _failures(env: ArmEnv, rng: np.random.Generator) -> Behaviour:
    return ArmExpert(env, rng, _drawn(rng, SPOIL))


def _play(env: ArmEnv, rng: np.random.Generator) -> Behaviour:
    return Play(env, rng, _drawn(rng))


def _babble(env: ArmEnv, rng: np.random.Generator) -> Behaviour:
    return Babble(env, rng)


def _arm_entry(arm: Arm, task: Task) -> WorldEntry:
    def build(image_size: int, options: WorldOptions) -> ArmEnv:
        return ArmEnv(
            arm.name,
            task.name,
            image_size,
            options.cameras,
            options.renderer,
            options.vary,
            options.fixed(),
            options.arm_mjcf,
        )

    def place(states: np.ndarray) -> np.ndarray:
        return project(arm.workplace.laptop, states[..., task.tracked : task.tracked + 3])

    spoilt = task.name in ("lift", "pick_place", "sort", "place", "stack")
    behaviours: dict[str, Callable[[ArmEnv, np.random.Generator], Behaviour]] = {"expert": _expert}
    behaviours |= {"failures": _failures} if spoilt else {}
    behaviours |= {"play": _play, "babble": _babble}
    joints = tuple(f"{motor}.pos" for motor in MOTORS)
    return WorldEntry(
        build=build,
        behaviours=behaviours,
        mix={"expert": 0.45, "failures": 0.15, "play": 0.2, "babble": 0.2}
        if spoilt
        else {"expert": 0.5, "play": 0.25, "babble": 0.25},
        proprio_names=joints,
        action_names=joints,
        state_unit="SI: m, rad, s",
        proprio_unit=UNIT,
        action_unit=UNIT,
        place=place,
        steps=(100, 160),
        longest=2 * task.steps,
        optional=True,
        events=lambda env: EventWatch(env).now,
        event_labels=EVENTS,
    )


def _maze_entry(config: MazeConfig, steps: tuple[int, int]) -> WorldEntry:
    return WorldEntry(
        build=lambda image_size, _: MazeEnv(image_size=image_size, config=config),
        behaviours={"expert": MazeExpert, "doors": ChangingDoors, "play": Wanderer},
        # Walkers keep away from walls: without play, controllers that drift there stay there.
        mix={"expert": 0.7, "doors": 0.2, "play": 0.1},
        proprio_names=("agent_x", "agent_y"),
        action_names=("x", "y"),
        state_unit="px; 1 for a shut door",
        proprio_unit="px",
        action_unit=f"{config.speed:g} px per control step",
        place=lambda states: states[..., :2] / WORLD,
        steps=steps,
        codec="libx264rgb",
    )


UNIT = "degrees; gripper 0 closed to 100 open"

WORLDS: dict[str, WorldEntry] = {
    "two_room": WorldEntry(
        build=lambda image_size, _: TwoRoomEnv(image_size=image_size),
        behaviours={"expert": NoisyExpert},
        mix={"expert": 1.0},
        proprio_names=("agent_x", "agent_y"),
        action_names=("x", "y"),
        state_unit="px",
        action_unit="5 px per control step",
        place=lambda states: states[..., :2] / WORLD,
    ),
    "maze": _maze_entry(MazeConfig(), (160, 220)),
    # The same pictures, and ways twice as long in steps: far goals lie beyond what heads are trained to tell apart.
    "maze_slow": _maze_entry(MazeConfig(speed=2.0), (320, 440)),
    "push_t": WorldEntry(
        build=lambda image_size, _: PushTEnv(image_size=image_size),
        behaviours={"expert": PushTExpert},
        mix={"expert": 1.0},
        proprio_names=PushTEnv.proprio_names,
        action_names=PushTEnv.action_names,
        state_unit="px, rad, px/s, rad/s",
        action_unit="100 px from the agent to its target",
        place=block_places,
        steps=(196, 200),
    ),
    "reacher": WorldEntry(
        build=lambda image_size, _: ReacherEnv(image_size=image_size),
        behaviours={"expert": ReacherExpert},
        mix={"expert": 1.0},
        proprio_names=ReacherEnv.proprio_names,
        action_names=ReacherEnv.action_names,
        state_unit="rad, rad/s",
        action_unit="0.05 N m",
        place=finger_places,
        steps=(196, 200),
    ),
    **{f"{arm.name}/{task.name}": _arm_entry(arm, task) for arm in ARMS.values() for task in TASKS.values()},
}
