"""The Koch arm (v1.1 follower, five joints and a gripper) from primitives: a second embodiment behind the same interface.

Kinematics, masses and inertias: `low_cost_robot_6dof/follower.xml` of perezjln/gym-lowcostrobot (Apache-2.0), base
turned so that the arm faces +x; every link stretches along its own -x. Zero: upper arm upright, forearm and gripper
level. Boxes follow the extents of the real parts (white prints, black motors), so no mesh file is needed. The servos are
not upstream's (stiffness 1000 N m/rad, torque 10 N m, far more than the arm has): two XL430-W250 in pan and lift and four
XL330-M288, as ROBOTIS gives them. A user's own MJCF with joints named joint_1 to joint_6 (upstream's file), or as
LeRobot's motors, gives its bodies and meshes in the primitives' place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.arm import MOTORS, TCP, Arm, Workplace
from jepaflow.sims.arms.mjcf import CYLINDER, LOOKS, SEEN, Colour, Vector, box, hinge, link, servo, shape

PRINT = (0.93, 0.93, 0.91)
MOTOR = (0.09, 0.09, 0.10)
FACING = (0.0, 0.0, 0.0, 1.0)
"""Quaternion of the base: half a turn about z, since upstream's arm stretches along -x."""


@dataclass(frozen=True)
class Servo:
    """A Dynamixel as a position actuator."""

    torque: float
    """Stall torque, N m."""
    kp: float
    """N m/rad."""
    kv: float
    """N m s/rad: what the servo's own D gain adds."""
    damping: float
    """N m s/rad: stall torque over no-load speed, which is what back-EMF does to a motor under voltage."""
    armature: float
    """kg m2: the rotor's inertia, seen through some 250 to 300 : 1 of gears."""
    friction: float
    """N m."""


XL430 = Servo(torque=1.4, kp=25.0, kv=0.9, damping=0.23, armature=0.012, friction=0.03)
"""XL430-W250: 1.4 N m and 57 to 61 turns a minute at 11 to 12 V."""
XL330 = Servo(torque=0.52, kp=12.0, kv=0.4, damping=0.05, armature=0.004, friction=0.01)
"""XL330-M288: 0.52 N m and 103 turns a minute at 5 V."""

RANGES: dict[str, tuple[float, float]] = {
    "shoulder_pan": (-2.2, 2.2),
    "shoulder_lift": (-1.8, 1.8),
    "elbow_flex": (-1.8, 1.8),
    "wrist_flex": (-2.05, 2.05),
    "wrist_roll": (-3.14, 3.14),
    "gripper": (-2.45, 0.032),
}
"""rad. Upstream lets the body joints turn by half a turn either way, which the parts do not; the gripper's are its own."""
SERVOS = {name: XL430 if name.startswith("shoulder") else XL330 for name in MOTORS}
GRIP: dict[str, Any] = {"condim": 6, "friction": [1.5, 0.005, 0.0005], "solref": [0.01, 1], "priority": 1}
"""Contacts of both fingers: upstream's friction, on pads as firm as the SO-101's; upstream's yield by centimetres."""

FIXED_FINGER_Y = 0.0087
"""y of the fixed fingertip's inner face in the gripper's frame, m; the moving finger comes from -y."""
TCP_POS = (-0.064, FIXED_FINGER_Y - 0.010 - 0.0035, 0.0005)
"""The point between the fingertips: half a 2 cm cube plus slack beside the fixed finger, 5 mm above the tips' ends."""
TCP_QUAT = (0.5, -0.5, 0.5, -0.5)
"""z against the approach (the gripper's -x), x from the fixed finger to the moving one (-y)."""

Part = tuple[Vector, Vector, Colour]
"""A box: half-sizes and centre, m, in the frame of its link, and its colour."""

BASE: tuple[Part, ...] = (
    ((0.012, 0.0793, 0.0020), (0.066, 0.0117, 0.0020), PRINT),
    ((0.028, 0.0180, 0.0030), (0.028, 0.0, 0.0030), PRINT),
    ((0.0232, 0.0143, 0.0172), (0.024, 0.0, 0.0232), MOTOR),
)
SHOULDER: tuple[Part, ...] = (
    ((0.0262, 0.0200, 0.0054), (0.012, 0.0, 0.0035), PRINT),
    ((0.0232, 0.0143, 0.0135), (0.012, 0.0, 0.0161), MOTOR),
)
UPPER_ARM: tuple[Part, ...] = (
    ((0.0130, 0.0020, 0.0265), (0.0, 0.0009, 0.0185), PRINT),
    ((0.0130, 0.0020, 0.0265), (0.0, 0.0409, 0.0185), PRINT),
    ((0.0080, 0.0200, 0.0080), (0.005, 0.0209, 0.0400), PRINT),
    ((0.0055, 0.0128, 0.0240), (0.0075, 0.0209, 0.0680), PRINT),
    ((0.0055, 0.0147, 0.0145), (0.0075, 0.0209, 0.1045), PRINT),
    ((0.0170, 0.0130, 0.0100), (-0.0073, 0.0209, 0.1083), MOTOR),
)
FOREARM: tuple[Part, ...] = (
    ((0.0110, 0.0015, 0.0085), (-0.0026, -0.0016, 0.0), PRINT),
    ((0.0110, 0.0015, 0.0085), (-0.0026, 0.0305, 0.0), PRINT),
    ((0.0320, 0.0175, 0.0112), (-0.0450, 0.0145, 0.0029), PRINT),
    ((0.0170, 0.0135, 0.0098), (-0.0930, 0.0145, 0.0027), MOTOR),
)
WRIST: tuple[Part, ...] = (
    ((0.0130, 0.0015, 0.0090), (-0.0040, -0.0018, 0.0), PRINT),
    ((0.0130, 0.0022, 0.0090), (-0.0040, 0.0345, 0.0), PRINT),
    ((0.0020, 0.0210, 0.0110), (-0.0180, 0.0177, 0.0), PRINT),
    ((0.0125, 0.0170, 0.0098), (-0.0325, 0.0206, 0.0), MOTOR),
)
GRIPPER: tuple[Part, ...] = (
    ((0.0035, 0.0188, 0.0148), (-0.0035, 0.0014, 0.0), PRINT),
    ((0.0100, 0.0130, 0.0130), (-0.0170, -0.0040, 0.0015), MOTOR),
    ((0.0185, 0.0055, 0.0148), (-0.0255, 0.0147, 0.0), PRINT),
)
FIXED_TIP: tuple[Part, ...] = (
    ((0.0090, 0.0040, 0.0115), (-0.0520, 0.0160, 0.0005), PRINT),
    ((0.0050, 0.0047, 0.0062), (-0.0640, FIXED_FINGER_Y + 0.0047, 0.0005), PRINT),
)
MOVING_CHEEKS: tuple[Part, ...] = (
    ((0.0120, 0.0075, 0.0016), (-0.0035, 0.0, 0.0017), PRINT),
    ((0.0120, 0.0075, 0.0016), (-0.0035, 0.0, -0.0306), PRINT),
    ((0.0105, 0.0070, 0.0177), (-0.0235, 0.0, -0.0145), PRINT),
)
MOVING_TIP: tuple[Part, ...] = (((0.0050, 0.0042, 0.0062), (-0.0510, 0.0131 - 0.0042, -0.0140), PRINT),)
SLANT: Part = ((0.0105, 0.0052, 0.0115), (-0.0400, 0.0032, -0.0140), PRINT)
"""The moving finger bends towards the fixed one by SLANTED rad before its tip."""
SLANTED = -0.38


def _turned(angle: float, axis: Vector = (0, 0, 1)) -> list[float]:
    """Return the quaternion of a turn (rad) about an axis."""
    return [math.cos(angle / 2), *(math.sin(angle / 2) * number for number in axis)]


def _boxes(body: Any, parts: Sequence[Part], group: int = SEEN, **more: Any) -> None:
    for size, pos, colour in parts:
        box(body, size, pos, colour, group, **more)


def _drive(name: str) -> dict[str, Any]:
    """Return what a joint feels of its servo's gears and motor."""
    motor = SERVOS[name]
    return {"damping": [motor.damping, 0.0, 0.0], "armature": motor.armature, "frictionloss": motor.friction}


def _joint(body: Any, name: str, axis: Vector) -> None:
    hinge(body, name, RANGES[name], axis, **_drive(name))


def _link(parent: Any, name: str, pos: Vector, mass: float, com: Vector, turn: Vector, inertia: Vector) -> Any:
    """Add a body whose inertia's axes are turned by a quaternion."""
    body = link(parent, name, pos, (1, 0, 0, 0), mass, com, inertia)
    body.iquat = list(turn)
    return body


def _base(spec: mujoco.MjSpec) -> Any:
    base = link(spec.worldbody, "base_link", (0, 0, 0), FACING, 0.12, (0.03, 0, 0.015), (1e-4, 1e-4, 1e-4))
    _boxes(base, BASE)
    return base


def _arm(base: Any) -> Any:
    """Add pan to wrist flex; return the last of them."""
    turn = (-0.0190903, 0.705417, 0.0178052, 0.708312)
    inertia = (1.44921e-05, 1.2371e-05, 7.59138e-06)
    one = _link(base, "link_1", (0.012, 0, 0.0409), 0.05014, (0.011924, -0.000488, 0.013381), turn, inertia)
    _joint(one, "shoulder_pan", (0, 0, -1))
    _boxes(one, SHOULDER)
    turn, inertia = (0.998768, 2.01e-05, 0.0496266, 3.67e-4), (3.73065e-05, 3.3772e-05, 7.94901e-06)
    two = _link(one, "link_2", (0, -0.0209, 0.0154), 0.050177, (0.0011747, 0.02097, 0.071547), turn, inertia)
    _joint(two, "shoulder_lift", (0, 1, 0))
    _boxes(two, UPPER_ARM)
    shape(two, CYLINDER, (0.0085, 0.0225), (0, 0.0209, 0), MOTOR, LOOKS, quat=_turned(math.pi / 2, (1, 0, 0)))
    turn, inertia = (8.18e-05, 0.710999, -4.2e-05, 0.703193), (2.45081e-05, 2.2231e-05, 7.34061e-06)
    three = _link(two, "link_3", (-0.0148, 0.0065, 0.1083), 0.06379, (-0.05537, 0.014505, 0.0028659), turn, inertia)
    _joint(three, "elbow_flex", (0, -1, 0))
    _boxes(three, FOREARM)
    turn, inertia = (0.707361, 0.706812, 0.00580344, 0.00484124), (2.95813e-06, 2.8759e-06, 1.07787e-06)
    four = _link(three, "link_4", (-0.10048, 5e-05, 0.0027), 0.019805, (-0.02652, 0.019195, -9.1e-06), turn, inertia)
    _joint(four, "wrist_flex", (0, 1, 0))
    _boxes(four, WRIST)
    return four


def _gripper(wrist: Any) -> Any:
    """Add the gripper with its fixed finger and the camera's mount; return it."""
    turn, inertia = (0.105295, 0.703509, -0.0986543, 0.695885), (8.11303e-06, 7.14908e-06, 3.27429e-06)
    body = _link(wrist, "link_5", (-0.045, 0.013097, 0), 0.029277, (-0.019091, 0.0053379, 0.00018), turn, inertia)
    _joint(body, "wrist_roll", (1, 0, 0))
    _boxes(body, GRIPPER, **GRIP)
    _boxes(body, FIXED_TIP, **GRIP)
    mount = link(body, "camera_mount", (0, 0, 0), (1, 0, 0, 0), 0.008, (-0.008, 0, 0.035), (1e-6, 1e-6, 1e-6))
    box(mount, (0.0015, 0.006, 0.012), (-0.003, 0, 0.026), PRINT)
    box(mount, (0.0040, 0.009, 0.008), (-0.005, 0, 0.043), MOTOR, quat=_turned(0.45, (0, 1, 0)))
    return body


def _finger(gripper: Any) -> None:
    turn, inertia = (0.528148, 0.5474, 0.466496, 0.451436), (3.49922e-06, 2.45768e-06, 1.4645e-06)
    body = _link(gripper, "link_6", (-0.01315, -0.0075, 0.0145), 0.012831, (-0.02507, 0.00108, -0.01414), turn, inertia)
    _joint(body, "gripper", (0, 0, -1))
    _boxes(body, MOVING_CHEEKS, **GRIP)
    _boxes(body, (SLANT,), quat=_turned(SLANTED), **GRIP)
    _boxes(body, MOVING_TIP, **GRIP)


def _users_model(spec: mujoco.MjSpec, path: Path) -> Any:
    """Attach the arm of an MJCF file, its joints under LeRobot's names and without its actuators; return its gripper.

    Ranges, servos and finger contacts become the ones of this module: upstream's servo squeezes a cube out of its own
    soft fingertips.
    """
    if not path.is_file():
        raise JepaflowError(
            f"there is no MJCF file {path}. Give the path of a Koch arm with joints joint_1 to joint_6."
        )
    try:
        child = mujoco.MjSpec.from_file(str(path))
    except (ValueError, mujoco.FatalError) as error:
        raise JepaflowError(f"{path} is not an MJCF that MuJoCo reads ({' '.join(str(error).split())}).") from error
    old = [f"joint_{i}" for i in range(1, 7)] if child.joint("joint_1") is not None else list(MOTORS)
    missing = [name for name in old if child.joint(name) is None]
    if missing:
        raise JepaflowError(
            f"{path} lacks the joints {', '.join(missing)}. "
            "Name them joint_1 to joint_6 as gym-lowcostrobot's follower.xml does, or as LeRobot names the motors."
        )
    for part in (*child.actuators, *child.keys):
        child.delete(part)
    child.option = spec.option
    for body in child.worldbody.bodies:
        body.pos, body.quat = [0, 0, 0], list(FACING)
    for name, motor in zip(old, MOTORS, strict=True):
        joint = child.joint(name)
        joint.name, joint.range, joint.limited = motor, list(RANGES[motor]), True
        joint.actfrclimited = False
        for word, value in _drive(motor).items():
            setattr(joint, word, value)
    jaw = child.joint("gripper").parent
    for geom in (*jaw.geoms, *jaw.parent.geoms):
        geom.solimp = [0.9, 0.95, 0.001, 0.5, 2]
        for word, value in GRIP.items():
            setattr(geom, word, value)
    spec.attach(child, prefix="user/", frame=spec.worldbody.add_frame())
    for motor in MOTORS:
        spec.joint(f"user/{motor}").name = motor
    return spec.joint("gripper").parent.parent


def add_koch(spec: mujoco.MjSpec, mjcf: Path | None = None) -> None:
    """Add the arm to a spec, its base at the origin, facing +x.

    Args:
        spec: the scene.
        mjcf: a user's model instead of the primitives: bodies, masses and shapes with the kinematics of
            gym-lowcostrobot's `follower.xml`, joints named as there or as LeRobot's motors. Its base is turned to face
            +x; ranges, servos and finger contacts stay the ones of this module.

    Raises:
        JepaflowError: the user's file is no MJCF, or lacks a joint.
    """
    if mjcf is not None:
        gripper = _users_model(spec, mjcf)
    else:
        base = _base(spec)
        gripper = _gripper(_arm(base))
        _finger(gripper)
        spec.add_exclude(bodyname1="base_link", bodyname2="link_1")  # a body fixed to the world touches its own child
    for name, limits in RANGES.items():
        servo(spec, name, limits, SERVOS[name].kp, SERVOS[name].kv, SERVOS[name].torque)
    gripper.add_site(name=TCP, pos=list(TCP_POS), quat=list(TCP_QUAT))
    # In front of the gripper, looking along the fingers and a little inwards; up in its picture is away from the arm.
    gripper.add_camera(name="wrist", pos=[-0.010, 0, 0.047], xyaxes=[0, 1, 0, -0.45, 0, 0.89], fovy=75.0)


KOCH = Arm(
    name="koch",
    add=add_koch,
    home=(0.04, -0.25, -0.54, -1.86, 0.04, -0.4),
    closed=0.032,
    opened=-2.45,
    release=-0.8,
    squeeze=0.0,
    workplace=Workplace(
        cube=0.010,
        near=(0.110, 0.160),
        across=(-0.08, 0.03),
        bins=((0.045, 0.110), (0.045, -0.110)),
        bin_half=0.035,
        reach_height=(0.03, 0.10),
        laptop=((0.34, 0.0, 0.20), (0.03, 0.0, 0.07), 55.0),
        phone=((0.24, -0.34, 0.36), (0.066, -0.026, 0.05), 31.0),
    ),
)
