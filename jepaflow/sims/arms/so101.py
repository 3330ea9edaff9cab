"""The SO-101 from primitives: the real kinematics, masses, joint ranges, servos and fingertip pads; no mesh files.

Constants: TheRobotStudio's SO-101 (new calibration: zero is the middle of the range) as MuJoCo Menagerie gives them
(`robotstudio_so101`, Apache-2.0). The boxes that collide are also what is seen, with a few more parts for looks. A
user's own MJCF in Menagerie's layout (bodies, joints and actuators of the same names) takes their place with its
meshes; the fingertip site and the wrist camera are added to it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import mujoco

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.arm import MOTORS, TCP, Arm, Workplace
from jepaflow.sims.arms.mjcf import CAPSULE, LOOKS, SEEN, SPHERE, TOUCH, box, hinge, link, rod, servo, shape

PRINT = (0.98, 0.80, 0.18)
"""Printed parts: the yellow of the project's photographs."""
MOTOR = (0.13, 0.13, 0.15)
KP, KV, TORQUE = 998.22, 2.731, 2.94
"""STS3215 as a position actuator: N m/rad, N m s/rad, N m (servo gain 16; RBE501 project, Open Duck Mini)."""
JOINT: dict[str, Any] = {"damping": [0.60, 0.0, 0.0], "frictionloss": 0.052, "armature": 0.028}
RANGES = {
    "shoulder_pan": (-1.91986, 1.91986),
    "shoulder_lift": (-1.74533, 1.74533),
    "elbow_flex": (-1.69, 1.69),
    "wrist_flex": (-1.65806, 1.65806),
    "wrist_roll": (-2.74385, 2.84121),
    "gripper": (-0.174533, 1.74533),
}
GRIP: dict[str, Any] = {"condim": 6, "friction": [1, 0.005, 0.0005], "solref": [0.01, 1], "priority": 1}
"""Contacts of everything on the gripper: six-dimensional friction, and the gripper's say counts."""
FIXED_JAW_X = -0.0081
"""x of the fixed jaw's inner face in the gripper's frame, m."""
TCP_POS = (FIXED_JAW_X + 0.0150 + 0.0035, -0.0002, -0.096)
"""The point between the fingertips: half a 3 cm cube plus slack beside the fixed jaw."""
USER = "user/"
"""What the names of a user's parts begin with, so that they do not meet the desk's; joints and actuators lose it."""
TILT = (math.cos(-0.275), math.sin(-0.275), 0.0, 0.0)
"""The camera plate's tilt, -0.55 rad about x."""


def _base(spec: mujoco.MjSpec) -> Any:
    base = link(
        spec.worldbody, "base", (0, 0, 0), (1, 0, 0, 0), 0.147, (0.0137, 0, 0.0335), (11.5e-5, 13.6e-5, 13.0e-5)
    )
    box(base, (0.030, 0.028, 0.030), (0.02, 0, 0.03), PRINT, LOOKS)
    box(base, (0.050, 0.040, 0.006), (0, 0, 0.006), PRINT, LOOKS)
    box(base, (0.018, 0.026, 0.008), (-0.030, 0, 0.046), MOTOR, LOOKS)
    return base


def _arm(base: Any) -> Any:
    """Add shoulder to wrist; return the wrist."""
    shoulder = link(
        base, "shoulder", (0.03884, 0, 0.0624), (0, 0, -1, 0), 0.100, (-0.0308, 0, -0.0253), (8.38e-5, 8.10e-5, 2.40e-5)
    )
    hinge(shoulder, "shoulder_pan", RANGES["shoulder_pan"], **JOINT)
    box(shoulder, (0.015, 0.010, 0.023), (-0.0304, 0.0004, -0.0387), MOTOR)
    box(shoulder, (0.025, 0.020, 0.038), (-0.025, 0, 0), PRINT)
    upper = link(
        shoulder,
        "upper_arm",
        (-0.0304, -0.01828, -0.0542),
        (1, -1, -1, -1),
        0.103,
        (-0.0898, -0.0084, 0.0184),
        (4.08e-5, 14.7e-5, 14.2e-5),
    )
    hinge(upper, "shoulder_lift", RANGES["shoulder_lift"], **JOINT)
    box(upper, (0.070, 0.010, 0.030), (-0.06, 0, 0.02), PRINT)
    box(upper, (0.010, 0.020, 0.015), (-0.12, -0.014, 0.0182), MOTOR)
    lower = link(
        upper,
        "lower_arm",
        (-0.11257, -0.028, 0),
        (1, 0, 0, 1),
        0.104,
        (-0.0981, 0.0032, 0.0183),
        (2.87e-5, 16e-5, 14.5e-5),
    )
    hinge(lower, "elbow_flex", RANGES["elbow_flex"], **JOINT)
    box(lower, (0.070, 0.010, 0.030), (-0.05, 0, 0.0182), PRINT)
    box(lower, (0.023, 0.013, 0.018), (-0.125, 0.005, 0.018), MOTOR)
    wrist = link(
        lower,
        "wrist",
        (-0.1349, 0.0052, 0),
        (1, 0, 0, -1),
        0.079,
        (-0.0001, -0.0386, 0.0281),
        (3.68e-5, 2.54e-5, 2.10e-5),
    )
    hinge(wrist, "wrist_flex", RANGES["wrist_flex"], **JOINT)
    box(wrist, (0.015, 0.018, 0.029), (0, -0.0424, 0.0256), MOTOR)
    box(wrist, (0.010, 0.030, 0.027), (0, -0.02, 0.0191), PRINT)
    return wrist


def _gripper(wrist: Any) -> Any:
    """Add the gripper with its fixed jaw; return it."""
    quat = (0.0172091, -0.0172091, 0.706897, 0.706897)
    body = link(
        wrist, "gripper", (0, -0.0611, 0.0181), quat, 0.087, (0.0002, 0.0002, -0.0252), (2.75e-5, 4.34e-5, 3.45e-5)
    )
    hinge(body, "wrist_roll", (-2.74385, 2.74385), **JOINT)
    box(body, (0.010, 0.010, 0.018), (0, 0, 0.001), MOTOR)
    box(body, (0.0325, 0.015, 0.015), (-0.0025, 0, -0.022), PRINT, **GRIP)
    box(body, (0.010, 0.015, 0.005), (-0.024, 0, -0.040), PRINT, **GRIP)
    box(body, (0.0035, 0.009, 0.034), (-0.0135, 0, -0.066), PRINT, LOOKS)
    pads = (
        ((0.001, 0.010, 0.008), (-0.0143, 0, -0.053)),
        ((0.001, 0.009, 0.008), (-0.0125, 0, -0.0727)),
        ((0.001, 0.005, 0.006), (-0.0108, 0, -0.0905)),
        ((0.001, 0.004, 0.004), (-0.009, 0, -0.0982)),
    )
    for size, pos in pads:
        box(body, size, pos, PRINT, TOUCH, **GRIP)
    ends = (-0.009, -0.002, -0.103, -0.009, 0.002, -0.103)
    shape(body, CAPSULE, (0.0011,), (0, 0, 0), PRINT, TOUCH, fromto=list(ends), **GRIP)
    for tip in ((FIXED_JAW_X, 0, -0.101), (FIXED_JAW_X, 0.0035, -0.0975), (FIXED_JAW_X, -0.0035, -0.0975)):
        shape(body, SPHERE, (0.00075,), tip, PRINT, TOUCH, **GRIP)
    mount = link(body, "camera_mount", (0, 0, 0), (1, 0, 0, 0), 0.012, (-0.002, 0.045, -0.035), (2e-6, 2e-6, 2e-6))
    box(mount, (0.015, 0.015, 0.003), (-0.0025, 0.03, -0.03), MOTOR, SEEN, **GRIP)
    box(mount, (0.021, 0.021, 0.003), (-0.001, 0.06, -0.04), MOTOR, SEEN, quat=list(TILT), **GRIP)
    return body


def _jaw(gripper: Any) -> None:
    jaw = link(
        gripper,
        "moving_jaw_so101_v1",
        (0.0202, 0.0188, -0.0234),
        (1, 1, 0, 0),
        0.012,
        (-0.0016, -0.0300, 0.0193),
        (0.661e-5, 0.189e-5, 0.529e-5),
    )
    hinge(jaw, "gripper", RANGES["gripper"], **JOINT)
    box(jaw, (0.010, 0.010, 0.015), (0, -0.013, 0.019), PRINT, **GRIP)
    rod(jaw, 0.006, (0, -0.01, 0.019, -0.008, -0.074, 0.019), PRINT)
    box(jaw, (0.001, 0.005, 0.006), (-0.0093, -0.067, 0.01875), PRINT, TOUCH, **GRIP)
    box(jaw, (0.001, 0.004, 0.004), (-0.0113, -0.076, 0.01875), PRINT, TOUCH, **GRIP)
    for tip in ((-0.012, -0.078, 0.0192), (-0.012, -0.0745, 0.0225), (-0.012, -0.0745, 0.0155)):
        shape(jaw, SPHERE, (0.00075,), tip, PRINT, TOUCH, **GRIP)


def _users_model(spec: mujoco.MjSpec, path: Path) -> Any:
    """Attach the arm of an MJCF file in Menagerie's layout; return its gripper body."""
    if not path.is_file():
        raise JepaflowError(f"there is no MJCF file {path}. Give the path of an arm in MuJoCo Menagerie's layout.")
    try:
        child = mujoco.MjSpec.from_file(str(path))
        child.compile()  # what is wrong with the file is said about the file: a mesh that is not there, a body without mass
    except (ValueError, mujoco.FatalError) as error:
        raise JepaflowError(f"{path} is not an MJCF that MuJoCo reads ({' '.join(str(error).split())}).") from error
    missing = [f"joint {name}" for name in MOTORS if child.joint(name) is None]
    missing += [f"actuator {name}" for name in MOTORS if child.actuator(name) is None]
    missing += ["body gripper"] if child.body("gripper") is None else []
    if missing:
        raise JepaflowError(
            f"{path} lacks {', '.join(missing)}. Use the names of MuJoCo Menagerie's robotstudio_so101/so101.xml."
        )
    for key in child.keys:
        child.delete(key)  # a pose of the arm alone is no pose of the desk
    child.option, child.visual, child.stat = spec.option, spec.visual, spec.stat  # the desk's, not the file's
    for size in ("nkey", "memory", "njmax", "nconmax", "nstack", "nuserdata"):
        setattr(child, size, getattr(spec, size))
    spec.attach(child, prefix=USER, frame=spec.worldbody.add_frame())
    for name in MOTORS:
        joint, actuator = spec.joint(USER + name), spec.actuator(USER + name)
        joint.name = actuator.name = actuator.target = name
    return spec.body(f"{USER}gripper")


def add_so101(spec: mujoco.MjSpec, mjcf: Path | None = None) -> None:
    """Add the arm to a spec, its base at the origin, facing +x.

    Args:
        spec: the scene.
        mjcf: a user's model in MuJoCo Menagerie's layout instead of the primitives.

    Raises:
        JepaflowError: the user's file is no MJCF, or lacks a joint, actuator or body.
    """
    if mjcf is not None:
        gripper = _users_model(spec, mjcf)
    else:
        gripper = _gripper(_arm(_base(spec)))
        _jaw(gripper)
        for name, limits in RANGES.items():
            servo(spec, name, limits, KP, KV, TORQUE)
    gripper.add_site(name=TCP, pos=list(TCP_POS))
    half = -0.57 / 2
    gripper.add_camera(name="wrist", pos=[0, 0.055, -0.045], quat=[math.cos(half), math.sin(half), 0, 0], fovy=75.0)


SO101 = Arm(
    name="so101",
    add=add_so101,
    home=(0.0, -1.2, 1.1, 1.0, 0.0, 0.3),
    closed=-0.174533,
    opened=1.74533,
    release=1.0,
    squeeze=-0.05,
    workplace=Workplace(
        cube=0.015,
        near=(0.16, 0.28),
        across=(-0.12, 0.06),
        bins=((0.20, 0.145), (0.20, -0.145)),
        bin_half=0.047,
        reach_height=(0.04, 0.14),
        laptop=((0.51, 0.0, 0.36), (0.18, 0.0, 0.045), 49.0),
        phone=((0.22, -0.41, 0.37), (0.17, -0.01, 0.045), 44.0),
    ),
)
