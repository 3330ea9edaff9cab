"""What a probe looks for, by the names of a store's columns: joints, places, angles, speeds, touch.

One table says which named numbers of a simulator state make a target, so that a new world is a new line. Angles are read as
the sine and cosine of the angle times its symmetry (a cube looks the same after a quarter turn: four times its yaw), since
no probe can be right about the jump from 359 to 0 degrees. Where the simulator tells no speed it is what a thing moved
within about a block around the frame, per second. A robot's recording without a simulator's state has its joints and their
speeds only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store


@dataclass(frozen=True)
class Target:
    """Something to read from a latent.

    Attributes:
        name: as rows name it.
        names: of its numbers in the column.
        column: of the store.
        turns: how often an angle repeats in a full turn (1, or 4 for a cube); 0: it is no angle.
        rate: its change per second instead of itself.
        yes_no: 0 or 1.
        at: where its numbers stand in the column, once it was found in a store.
    """

    name: str
    names: tuple[str, ...]
    column: str = "state"
    turns: int = 0
    rate: bool = False
    yes_no: bool = False
    at: tuple[int, ...] = ()

    @property
    def coordinates(self) -> tuple[str, ...]:
        """What each of its numbers is called in notes."""
        if not self.turns:
            return self.names
        times = f"{self.turns} " if self.turns > 1 else ""
        return tuple(f"{wave}({times}{name})" for name in self.names for wave in ("sin", "cos"))


def _xyz(prefix: str, axes: str = "xyz") -> tuple[str, ...]:
    return tuple(f"{prefix}_{axis}" for axis in axes)


GRIPPER = (
    Target("gripper", _xyz("tcp")),
    Target("opening", ("gripper_opening",)),
    Target("gripper_velocity", _xyz("tcp"), rate=True),
)
OBJECT = (
    Target("object", _xyz("cube{i}")),
    Target("object_yaw", ("cube{i}_yaw",), turns=4),
    Target("object_velocity", _xyz("cube{i}"), rate=True),
    Target("contact", ("cube{i}_touched",), yes_no=True),
    Target("held", ("cube{i}_held",), yes_no=True),
)
FLAT = (
    Target("agent", _xyz("agent", "xy")),
    Target("target", _xyz("target", "xy")),
    Target("block", _xyz("block", "xy")),
    Target("block_angle", ("block_angle",), turns=1),
    Target("agent_velocity", ("agent_vx", "agent_vy")),
    Target("block_velocity", ("block_vx", "block_vy")),
    Target("block_turn", ("block_turn",)),
    Target("shoulder", ("shoulder",), turns=1),
    Target("wrist", ("wrist",), turns=1),
    Target("joint_velocity", ("shoulder_velocity", "wrist_velocity")),
)
"""Of Two-Room, Push-T and the Reacher."""


def find_targets(store: Store) -> tuple[Target, ...]:
    """What a store's columns tell, in the order in which figures are shown.

    Raises:
        JepaflowError: they tell nothing that is known here.
    """
    features = store.meta.get("features", {})
    state = tuple(features.get("state", {}).get("names") or ()) if "state" in store.columns else ()
    arm = "tcp_x" in state
    # A real arm's store may hold its joints twice, as proprio and as state: then too the joints are all that is known.
    joints = tuple(features.get("proprio", {}).get("names") or ())
    found = list(_joints(store, features)) if arm or not state or state == joints else []
    cubes = sum(f"cube{i}_x" in state for i in range(len(state)))
    for target in (*GRIPPER, *(_of_cube(t, i) for i in range(cubes) for t in OBJECT), *FLAT):
        if set(target.names) <= set(state):
            found.append(replace(target, at=tuple(state.index(name) for name in target.names)))
    if not found:
        raise JepaflowError(
            f"{store.path} has neither joints (proprio) nor a simulator's state whose names are known, so there is nothing "
            "to look for in the latents. Convert a dataset with observation.state."
        )
    return tuple(found)


def _joints(store: Store, features: dict) -> tuple[Target, ...]:
    size = store.dim("proprio")
    if not size:
        return ()
    names = tuple(features.get("proprio", {}).get("names") or ())
    names = names if len(names) == size else tuple(f"joint_{i}" for i in range(size))
    at = tuple(range(size))
    return (
        Target("joints", names, "proprio", at=at),
        Target("joint_velocity", names, "proprio", rate=True, at=at),
    )


def _of_cube(target: Target, index: int) -> Target:
    words = target.name.split("_", 1)
    words[0] += str(index + 1) if index else ""
    return replace(target, name="_".join(words), names=tuple(name.format(i=index) for name in target.names))


def read_targets(
    store: Store, targets: Sequence[Target], episode: int, phase: int, block: int
) -> Float[np.ndarray, "T Q"]:
    """True values of an episode's frames, ``block`` control steps apart from ``phase`` on; targets side by side.

    Raises:
        JepaflowError: when a value is not finite.
    """
    rows = store.episode_rows(episode)
    columns = {name: np.asarray(store.read(name, rows), np.float64) for name in {t.column for t in targets}}
    parts = [_values(t, columns[t.column][:, list(t.at)], phase, block, store.fps) for t in targets]
    values = np.concatenate(parts, 1)
    if not np.isfinite(values).all():
        raise JepaflowError(
            f"The state or proprio of episode {episode} of {store.path} is not finite. Run `jepaflow doctor` on the dataset."
        )
    return values


def _values(
    target: Target, dense: Float[np.ndarray, "n P"], phase: int, block: int, fps: float
) -> Float[np.ndarray, "T Q"]:
    frames = np.arange(phase, len(dense), block)
    if target.rate:
        half = (block + 1) // 2
        before, after = np.maximum(frames - half, 0), np.minimum(frames + half, len(dense) - 1)
        steps = np.maximum(after - before, 1)  # an episode of one frame does not move
        return np.asarray((dense[after] - dense[before]) * fps / steps[:, None])
    values = dense[frames]
    if target.turns:
        angle = target.turns * np.remainder(values, 2 * math.pi)
        values = np.stack([np.sin(angle), np.cos(angle)], -1).reshape(len(values), -1)
    return values


def slices(targets: Sequence[Target]) -> tuple[slice, ...]:
    """Where each target's coordinates stand in what `read_targets` returns."""
    ends = np.cumsum([len(t.coordinates) for t in targets])
    return tuple(slice(int(end) - len(t.coordinates), int(end)) for t, end in zip(targets, ends))
