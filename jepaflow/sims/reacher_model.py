"""The Reacher's arm as a MuJoCo model: two links in a plane, torque motors, dm_control's constants, no data file.

Built with MjSpec: links of .12 m, capsules of radius .01 m (the hand's ends at .10, its finger is a ball at .12),
density 1000, joint damping .01, motor gear .05 (so +-1 is +-.05 N m), the wrist limited to +-160 degrees, the shoulder
free, no contacts. One control step is one physics step of .02 s (Euler, implicit in the damping), as dm_control's
suite runs it.

A step is a pure function of four numbers and the action: MuJoCo's warm start would be a hidden state, so it is off.
The shoulder is kept in (-pi, pi]: turns are not in a picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import mujoco
import numpy as np
from jaxtyping import Float

from jepaflow.common.errors import JepaflowError

ARM, HAND, FINGER = 0.12, 0.10, 0.12
"""m: the upper link, the hand's capsule, and the finger's distance from the wrist."""
RADIUS = 0.01
"""m: of both capsules and of the finger."""
WRIST_LIMIT = math.radians(160.0)
OVERSHOOT = 1.0
"""rad by which a fast wrist may stretch its soft limit; a given state beyond that is refused."""
FASTEST = 100.0
"""rad/s: many times what the motors can reach; a given state beyond that is refused."""
HALF_TURN = float(np.float32(math.pi))


@dataclass(frozen=True)
class ReacherConfig:
    """The Reacher's success rule and step. Defaults are stable-worldmodel's task `qpos_match` since March 2026."""

    threshold: float = 0.05
    """rad: success is every joint nearer to its target than this. It was .1 until 11 to 16 March 2026: record it."""
    timestep: float = 0.02
    """Seconds per physics step."""
    substeps: int = 1
    """Physics steps per control step."""

    def __post_init__(self) -> None:
        """Refuse values that cannot be simulated."""
        for name in ("threshold", "timestep"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise JepaflowError(f"the Reacher's {name} is {getattr(self, name):g}. Give a positive number.")
        if self.timestep > 0.05 or self.substeps < 1:
            raise JepaflowError(
                f"the Reacher cannot be simulated with {self.substeps} steps of {self.timestep:g} s. "
                "Give at least 1 step of at most .05 s."
            )


class ReacherState(NamedTuple):
    """The whole simulator state: rad and rad/s."""

    shoulder: float
    wrist: float
    shoulder_velocity: float
    wrist_velocity: float


def wrapped(angle: float) -> float:
    """Return the angle in [-pi, pi], unchanged where it lies there already (to float32)."""
    return angle if abs(angle) <= HALF_TURN else math.remainder(angle, 2.0 * math.pi)


def rounded(values: tuple[float, ...]) -> ReacherState:
    """Return the state that a float32 row can hold, its shoulder wrapped."""
    row = np.array([wrapped(values[0]), *values[1:]], dtype=np.float32)
    return ReacherState(*(float(value) for value in row))


def build_model(config: ReacherConfig) -> mujoco.MjModel:
    """Return the compiled arm."""
    spec = mujoco.MjSpec()
    spec.option.timestep = config.timestep
    spec.option.disableflags = int(mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_WARMSTART)
    parent = spec.worldbody
    for name, place, length in (("shoulder", [0.0, 0.0, 0.01], ARM), ("wrist", [ARM, 0.0, 0.0], HAND)):
        parent = parent.add_body(name=name, pos=place)
        parent.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0.0, 0.0, 1.0], damping=0.01)
        parent.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=[0.0, 0.0, 0.0, length, 0.0, 0.0], size=[RADIUS, 0.0, 0.0]
        )
        motor = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.set_to_motor()
        motor.gear = [0.05, 0.0, 0.0, 0.0, 0.0, 0.0]
        motor.ctrllimited, motor.ctrlrange = True, [-1.0, 1.0]
    spec.joint("wrist").limited = True
    spec.joint("wrist").range = [-160.0, 160.0]  # degrees, as MjSpec's compiler reads angles by default
    finger = parent.add_body(name="finger", pos=[FINGER, 0.0, 0.0])
    finger.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[RADIUS, 0.0, 0.0])
    return spec.compile()


class ReacherPhysics:
    """Steps the arm; holds MuJoCo's buffers and nothing that outlives a step.

    Args:
        config: step sizes.
    """

    def __init__(self, config: ReacherConfig) -> None:
        self.config = config
        self.model = build_model(config)
        self._data = mujoco.MjData(self.model)

    def step(self, state: ReacherState, action: tuple[float, float]) -> ReacherState:
        """Return the state after one control step with these motor signals in [-1, 1], rounded to float32."""
        data = self._data
        data.qpos[:], data.qvel[:], data.ctrl[:] = state[:2], state[2:], action
        for _ in range(self.config.substeps):
            mujoco.mj_step(self.model, data)
        return rounded((*data.qpos.tolist(), *data.qvel.tolist()))

    def signals_for(self, state: ReacherState, acceleration: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
        """Return the motor signals (not clipped) that give these joint accelerations (rad/s^2): inverse dynamics."""
        data = self._data
        data.qpos[:], data.qvel[:], data.qacc[:] = state[:2], state[2:], acceleration
        mujoco.mj_inverse(self.model, data)
        signals: Float[np.ndarray, " 2"] = data.qfrc_inverse / self.model.actuator_gear[:, 0]
        return signals


def joints(shoulder: float, wrist: float) -> Float[np.ndarray, "4 2"]:
    """Return where the base, the wrist, the hand's end and the finger are in the plane (m, x right, y up)."""
    direction = np.array([math.cos(shoulder + wrist), math.sin(shoulder + wrist)])
    elbow = ARM * np.array([math.cos(shoulder), math.sin(shoulder)])
    return np.stack([np.zeros(2), elbow, elbow + HAND * direction, elbow + FINGER * direction])
