"""One episode in any Gymnasium environment whose observation has the model's cameras.

Nothing of the world is known here but its observation: pictures under the cameras' names (the first may be called
"pixels") and, where the model or the plans need it, the robot's state under "state".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float, Float32, UInt8

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.controller import Controller
from jepaflow.planning.goal import Goal


@dataclass(frozen=True)
class Drive:
    """What happened."""

    actions: Float32[np.ndarray, "L A"]
    rewards: Float[np.ndarray, " L"]
    terminated: bool
    """Whether the environment said that the task is done."""
    truncated: bool


def drive(
    env: gymnasium.Env[dict[str, np.ndarray], np.ndarray],
    controller: Controller,
    goal: Mapping[str, np.ndarray] | Goal,
    steps: int,
    *,
    seed: int | None = None,
    options: dict[str, Any] | None = None,
    views: Sequence[str] | None = None,
    start_action: Float[np.ndarray, " A"] | None = None,
) -> Drive:
    """Reset the environment and drive it towards the goal.

    Args:
        env: a Gymnasium environment with a dict observation and a box of actions.
        controller: for one environment.
        goal: an observation made in the goal state, or a `Goal` of one environment.
        steps: control steps at most; fewer if the environment ends the episode.
        seed: of the reset.
        options: of the reset.
        views: the observation's keys of the model's cameras, in its order; None: the model's own names.
        start_action: the action in force at the beginning; None: the environment's `still_action()`, if it has one.

    Raises:
        JepaflowError: the observation lacks a camera.
    """
    seen, _ = env.reset(seed=seed, options=options)
    keys = _keys(controller, seen, views)
    if start_action is None and hasattr(env.unwrapped, "still_action"):
        start_action = env.unwrapped.still_action()
    start = None if start_action is None else np.asarray(start_action, dtype=np.float32)[None]
    if isinstance(goal, Goal):
        controller.reset(goal, start_action=start)
    else:
        controller.reset(_pictures(goal, keys), _state(goal), start)
    actions: list[np.ndarray] = []
    rewards: list[float] = []
    terminated = truncated = False
    while len(actions) < steps and not (terminated or truncated):
        looks = controller.looks_next
        action = controller.act(_pictures(seen, keys) if looks else None, _state(seen) if looks else None)[0]
        seen, reward, terminated, truncated, _ = env.step(action)
        actions.append(action)
        rewards.append(float(reward))
    shape = (len(actions), controller.space.low.numel())
    return Drive(
        np.array(actions, dtype=np.float32).reshape(shape), np.array(rewards), bool(terminated), bool(truncated)
    )


def _keys(controller: Controller, seen: Mapping[str, np.ndarray], views: Sequence[str] | None) -> list[str]:
    """Return the observation's keys of the model's cameras."""
    own: Sequence[str] = getattr(controller.model.config, "cameras", ("pixels",))
    names = own if views is None else views
    keys = ["pixels" if i == 0 and name not in seen else name for i, name in enumerate(names)]
    if missing := [name for name, key in zip(names, keys, strict=True) if key not in seen]:
        raise JepaflowError(
            f"the model looks through the camera '{missing[0]}', which the observation lacks; it has {sorted(seen)}. "
            "Name the keys with `views`."
        )
    return keys


def _pictures(seen: Mapping[str, np.ndarray], keys: Sequence[str]) -> UInt8[np.ndarray, "1 V S S 3"]:
    return np.stack([np.asarray(seen[key]) for key in keys])[None]


def _state(seen: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "1 P"] | None:
    return np.asarray(seen["state"], dtype=np.float32)[None] if "state" in seen else None
