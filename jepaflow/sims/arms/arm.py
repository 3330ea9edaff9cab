"""What an arm is to the rest of the package: how to build it, where it works, and how LeRobot names and counts it.

Inside everything is radians and metres. At the door, actions and joint positions are what LeRobot's SO and Koch
followers send: `<motor>.pos`, degrees for the body joints (zero is the middle of the calibrated range), 0 (closed) to
100 (open) for the gripper.

The joints of a model carry LeRobot's motor names, in LeRobot's order; the gripper is the last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float

MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
TCP = "tcp"
"""Name of the site between the fingertips."""


@dataclass(frozen=True)
class Workplace:
    """Where things lie on the desk of one arm, m; x points away from the arm's base, y to its left."""

    cube: float
    """Half the side of a standard cube."""
    near: tuple[float, float]
    """Range of a thing's x."""
    across: tuple[float, float]
    """Range of a thing's y."""
    bins: tuple[tuple[float, float], ...]
    """Centres of the bins."""
    bin_half: float
    """Half the inner side of a bin."""
    reach_height: tuple[float, float]
    """Range of the height of a point to be reached."""
    laptop: tuple[tuple[float, float, float], tuple[float, float, float], float]
    """The laptop's camera: where it stands, what it looks at, vertical field of view in degrees."""
    phone: tuple[tuple[float, float, float], tuple[float, float, float], float]
    """The phone's camera, likewise."""


@dataclass(frozen=True)
class Arm:
    """One kind of arm."""

    name: str
    add: Callable[[mujoco.MjSpec, Path | None], None]
    """Add the bodies, joints, actuators, the site `tcp` and the camera `wrist` to a spec; with a path, from that MJCF."""
    home: tuple[float, ...]
    """Joint positions to start from and return to, rad."""
    closed: float
    """Gripper joint at LeRobot's 0, rad."""
    opened: float
    """Gripper joint at LeRobot's 100, rad."""
    release: float
    """Gripper joint wide enough to let go of or to straddle a cube, rad."""
    squeeze: float
    """Gripper target that holds a cube, rad."""
    workplace: Workplace
    impratio: float = 10.0
    """MuJoCo's ratio of frictional to normal impedance: more holds a slipping grasp better."""

    def to_lerobot(self, radians: Float[np.ndarray, "... 6"]) -> Float[np.ndarray, "... 6"]:
        """Return joint positions in LeRobot's units."""
        out = np.degrees(np.asarray(radians, dtype=np.float64))
        out[..., -1] = 100.0 * (np.asarray(radians)[..., -1] - self.closed) / (self.opened - self.closed)
        return np.asarray(out)

    def to_radians(self, values: Float[np.ndarray, "... 6"]) -> Float[np.ndarray, "... 6"]:
        """Return joint positions given in LeRobot's units, rad."""
        out = np.radians(np.asarray(values, dtype=np.float64))
        out[..., -1] = self.closed + np.asarray(values, dtype=np.float64)[..., -1] / 100.0 * (self.opened - self.closed)
        return np.asarray(out)
