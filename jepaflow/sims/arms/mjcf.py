"""Short words for building MJCF with `mujoco.MjSpec`: a part is one line of numbers.

Geoms that are seen and touched are in group 1, seen only in group 2, touched only (fingertip pads) in group 3, which no
renderer draws. All inertias are given explicitly, so geoms of an arm weigh nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

Vector = Sequence[float | int] | np.ndarray
Colour = tuple[float, float, float]

SEEN, LOOKS, TOUCH = 1, 2, 3
BOX, CAPSULE, CYLINDER, SPHERE, PLANE = (
    mujoco.mjtGeom.mjGEOM_BOX,
    mujoco.mjtGeom.mjGEOM_CAPSULE,
    mujoco.mjtGeom.mjGEOM_CYLINDER,
    mujoco.mjtGeom.mjGEOM_SPHERE,
    mujoco.mjtGeom.mjGEOM_PLANE,
)


def rgba(colour: Colour, alpha: float = 1.0) -> list[float]:
    """Return a colour as four numbers."""
    return [*colour, alpha]


def link(
    parent: Any, name: str, pos: Vector, quat: Vector, mass: float, com: Vector, inertia: Vector
) -> mujoco.MjsBody:
    """Add a body with explicit mass (kg), centre of mass (m) and diagonal inertia (kg m2)."""
    body = parent.add_body(name=name, pos=list(pos), quat=list(quat))
    body.explicitinertial = True
    body.mass, body.ipos, body.inertia = mass, list(com), list(inertia)
    return body


def hinge(body: Any, name: str, limits: tuple[float, float], axis: Vector = (0, 0, 1), **more: Any) -> mujoco.MjsJoint:
    """Add a hinge (rad) to a body."""
    return body.add_joint(
        name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=list(axis), range=list(limits), limited=True, **more
    )


def shape(body: Any, kind: Any, size: Vector, pos: Vector, colour: Colour, group: int = SEEN, **more: Any) -> Any:
    """Add a massless geom; one that is for looks only touches nothing."""
    touches = 0 if group == LOOKS else 1
    settings = {"contype": touches, "conaffinity": touches, "mass": 0.0, **more}
    if "fromto" not in settings:
        settings["pos"] = list(pos)
    return body.add_geom(type=kind, size=[*size, 0, 0][:3], rgba=rgba(colour), group=group, **settings)


def box(body: Any, size: Vector, pos: Vector, colour: Colour, group: int = SEEN, **more: Any) -> Any:
    """Add a box of half-sizes `size`."""
    return shape(body, BOX, size, pos, colour, group, **more)


def rod(body: Any, radius: float, ends: Vector, colour: Colour, group: int = LOOKS, **more: Any) -> Any:
    """Add a capsule between two points (six numbers)."""
    return shape(body, CAPSULE, (radius,), (0, 0, 0), colour, group, fromto=list(ends), **more)


def servo(
    spec: mujoco.MjSpec, joint: str, limits: tuple[float, float], kp: float, kv: float, torque: float
) -> mujoco.MjsActuator:
    """Add a position actuator: torque = kp * (target - angle) - kv * speed, within +-`torque` N m."""
    actuator = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    actuator.set_to_position(kp=kp, kv=kv)
    actuator.ctrlrange, actuator.ctrllimited = list(limits), True
    actuator.forcerange, actuator.forcelimited = [-torque, torque], True
    return actuator
