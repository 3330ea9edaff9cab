"""The scene around an arm, built once per layout: table, light, cameras, cubes, bins, a goal marker, obstacles, clutter.

Everything that an episode may place anywhere is a body whose pose is *data*: cubes are free bodies; bins, marker,
obstacles and distractors are mocap bodies (they collide, and stand where they are put). What is absent is parked out of
sight. So one compiled model serves all episodes, and a state is a list of numbers that restores any of them.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from jepaflow.sims.arms.arm import MOTORS, TCP, Arm
from jepaflow.sims.arms.mjcf import BOX, CYLINDER, LOOKS, PLANE, SEEN, SPHERE, Vector, box, rgba, shape
from jepaflow.sims.rendering import quiet

TIMESTEP = 1 / 240
"""s per physics step; above 1/120 grasps fail (24 of 60 at 1/60)."""
SUBSTEPS = 8
"""Physics steps per control step: 30 Hz."""
DENSITY = 960.0
"""kg/m3 of a cube: 15 g at 2.5 cm."""
CUBE_CONTACT = {"condim": 4, "friction": [1, 0.02, 0.001], "solref": [0.01, 1]}
TABLE = (0.80, 0.74, 0.66)
WALL_SIZE = (0.006, 0.045, 0.035)
"""Half-sizes of the wall, m: 9 cm long, 7 cm high, 1.2 cm thick."""
POST_SIZE = (0.012, 0.060)
"""Radius and half-height of the post, m."""
BIN_DEPTH = 0.02
"""Half the height of a bin's walls, m."""
BIN_WALL = 0.003
PARKED_BELOW = -1.0
"""z of a mocap body that is not there, m: under the table, where no camera looks."""
PARKED_BEHIND = -0.6
"""x of a cube that is not there, m."""
DISTRACTORS = 3
LIGHT = (0.30, 0.20, 1.20)
"""Where the lamp hangs, m."""
LIGHT_LEVEL = 0.5
SKY = (0.55, 0.60, 0.66)
MARKER = (0.10, 0.62, 0.28)


log = logging.getLogger(__name__)
mujoco.set_mju_user_warning(
    lambda text: log.info("MuJoCo: %s", text)
)  # by itself it writes a file where the user stands


@dataclass(frozen=True)
class Layout:
    """What a task puts on the desk."""

    cubes: int = 0
    bins: int = 0
    marker: str | None = None
    """"ball" (a point to be touched, on a thin stand), "disc" (a place on the table), or none."""


def look_at(eye: Vector, target: Vector) -> np.ndarray:
    """Return the quaternion (w, x, y, z) of a camera at `eye` that looks at `target`, its picture upright."""
    back = np.asarray(eye, dtype=float) - np.asarray(target, dtype=float)
    back /= np.linalg.norm(back)
    right = np.cross((0.0, 0.0, 1.0), back)
    right /= np.linalg.norm(right)
    matrix = np.stack([right, np.cross(back, right), back], axis=1)
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, matrix.ravel())
    return quat


def project(
    camera: tuple[tuple[float, float, float], tuple[float, float, float], float], points: np.ndarray
) -> np.ndarray:
    """Return where points (..., 3), m, lie in a workplace camera's square picture: (..., 2), shares from the top left."""
    eye, target, fovy = camera
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, look_at(eye, target))
    seen = (np.asarray(points, dtype=float) - eye) @ matrix.reshape(3, 3)
    focal = 0.5 / math.tan(math.radians(fovy) / 2)
    return np.stack([0.5 - focal * seen[..., 0] / seen[..., 2], 0.5 + focal * seen[..., 1] / seen[..., 2]], axis=-1)


def _surroundings(spec: mujoco.MjSpec, arm: Arm) -> None:
    spec.visual.headlight.ambient = [0.34, 0.34, 0.34]
    spec.visual.headlight.diffuse = [0.30, 0.30, 0.30]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.visual.rgba.haze = rgba(SKY)  # what the ray renderer draws where there is nothing
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=list(SKY),
        rgb2=list(SKY),
        width=8,
        height=48,
    )
    world = spec.worldbody
    world.add_geom(
        name="table", type=PLANE, size=[1.5, 1.5, 0.1], rgba=rgba(TABLE), group=SEEN, friction=[1, 0.005, 0.0001]
    )
    world.add_light(
        name="lamp", pos=list(LIGHT), dir=[-LIGHT[0], -LIGHT[1], -LIGHT[2]], diffuse=[LIGHT_LEVEL] * 3, castshadow=False
    )
    for name in ("laptop", "phone"):
        eye, target, fovy = getattr(arm.workplace, name)
        world.add_camera(name=name, pos=list(eye), quat=look_at(eye, target).tolist(), fovy=fovy)


def _cube(spec: mujoco.MjSpec, index: int, half: float) -> None:
    body = spec.worldbody.add_body(name=f"cube{index}", pos=[-0.5, 0.2 * index, half])
    body.add_freejoint(name=f"cube{index}")
    body.add_geom(
        name=f"cube{index}",
        type=BOX,
        size=[half] * 3,
        density=DENSITY,
        rgba=[0.8, 0.1, 0.1, 1],
        group=SEEN,
        **CUBE_CONTACT,
    )


def _mocap(spec: mujoco.MjSpec, name: str) -> Any:
    body = spec.worldbody.add_body(name=name, pos=[0, 0, PARKED_BELOW])
    body.mocap = True
    return body


def _bin(spec: mujoco.MjSpec, index: int, half: float) -> None:
    body, colour = _mocap(spec, f"bin{index}"), (0.2, 0.3, 0.8)
    box(body, (half, half, 0.001), (0, 0, 0.001), colour)
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        size = (BIN_WALL if x else half + 2 * BIN_WALL, BIN_WALL if y else half, BIN_DEPTH)
        box(body, size, (x * (half + BIN_WALL), y * (half + BIN_WALL), BIN_DEPTH), colour)


def _extras(spec: mujoco.MjSpec, layout: Layout, cube: float) -> None:
    if layout.marker == "ball":
        body = _mocap(spec, "marker")
        shape(body, SPHERE, (0.011,), (0, 0, 0), MARKER, LOOKS)
        shape(body, CYLINDER, (0.002, 0.1), (0, 0, -0.1), (0.4, 0.4, 0.4), LOOKS)
    elif layout.marker == "disc":
        shape(_mocap(spec, "marker"), CYLINDER, (1.87 * cube, 0.0006), (0, 0, 0.0006), MARKER, LOOKS)
    wall, post = _mocap(spec, "wall"), _mocap(spec, "post")
    box(wall, WALL_SIZE, (0, 0, WALL_SIZE[2]), (0.45, 0.32, 0.22))
    shape(post, CYLINDER, POST_SIZE, (0, 0, POST_SIZE[1]), (0.45, 0.32, 0.22))
    for index, (kind, size, colour) in enumerate(
        (
            (SPHERE, (0.016,), (0.95, 0.95, 0.92)),
            (CYLINDER, (0.014, 0.022), (0.35, 0.35, 0.38)),
            (BOX, (0.022, 0.012, 0.010), (0.75, 0.55, 0.75)),
        )
    ):
        shape(_mocap(spec, f"distractor{index}"), kind, size, (0, 0, size[-1]), colour)


@cache
def _compiled(arm: Arm, layout: Layout, mjcf: Path | None) -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = arm.impratio
    spec.option.iterations, spec.option.ls_iterations = 10, 20
    quiet(spec)
    _surroundings(spec, arm)
    arm.add(spec, mjcf)
    for index in range(layout.cubes):
        _cube(spec, index, arm.workplace.cube)
    for index in range(layout.bins):
        _bin(spec, index, arm.workplace.bin_half)
    _extras(spec, layout, arm.workplace.cube)
    return spec.compile()


class Desk:
    """A scene in a state: the compiled model (a copy of its own) and its data, with words for what lies on it.

    Args:
        arm: which arm.
        layout: what lies on the desk.
        mjcf: a user's model of the arm.

    Raises:
        JepaflowError: the user's model cannot be used.
    """

    def __init__(self, arm: Arm, layout: Layout, mjcf: Path | None = None) -> None:
        self.arm, self.layout = arm, layout
        self.compiled = _compiled(arm, layout, mjcf)
        self.model = copy.copy(self.compiled)
        self.data = mujoco.MjData(self.model)
        model = self.model
        joints = [model.joint(name) for name in MOTORS]
        self.qpos = np.array([joint.qposadr[0] for joint in joints])
        """Where the six joints are in `data.qpos`."""
        self.dofs = np.array([joint.dofadr[0] for joint in joints])
        self.motors = np.array([model.actuator(name).id for name in MOTORS])
        self.tcp_site = model.site(TCP).id
        self.jaw = int(model.jnt_bodyid[joints[-1].id])
        self.palm = int(model.body_parentid[self.jaw])
        self.cube_bodies = [model.body(f"cube{i}").id for i in range(layout.cubes)]
        self._cube_qpos = [int(model.joint(f"cube{i}").qposadr[0]) for i in range(layout.cubes)]
        self._cube_dof = [int(model.joint(f"cube{i}").dofadr[0]) for i in range(layout.cubes)]

    # What is where ----------------------------------------------------------------------------------------------------

    def joints(self) -> np.ndarray:
        """Return the six joint positions, rad."""
        return np.asarray(self.data.qpos[self.qpos])

    def tcp(self) -> np.ndarray:
        """Return the point between the fingertips, m."""
        return np.asarray(self.data.site_xpos[self.tcp_site])

    def cube(self, index: int) -> np.ndarray:
        """Return a cube's centre, m."""
        at = self._cube_qpos[index]
        return np.asarray(self.data.qpos[at : at + 3])

    def cube_yaw(self, index: int) -> float:
        """Return a cube's yaw in (-pi/4, pi/4], rad: a cube looks the same after a quarter turn."""
        w, x, y, z = self.data.qpos[self._cube_qpos[index] + 3 : self._cube_qpos[index] + 7]
        yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        return (yaw + math.pi / 4) % (math.pi / 2) - math.pi / 4

    def cube_speed(self, index: int) -> float:
        """Return a cube's speed, m/s."""
        at = self._cube_dof[index]
        return float(np.linalg.norm(self.data.qvel[at : at + 3]))

    def cube_half(self, index: int) -> float:
        """Return half the side of a cube, m."""
        return float(self.model.geom(f"cube{index}").size[0])

    def place(self, name: str) -> np.ndarray:
        """Return the position of a mocap body (bin0, marker, wall, post, distractor0), m."""
        return np.asarray(self.data.mocap_pos[self.model.body(name).mocapid[0]])

    def is_there(self, name: str) -> bool:
        """Return whether a mocap body stands on the desk."""
        return bool(self.place(name)[2] > PARKED_BELOW / 2)

    def touched(self, index: int) -> tuple[bool, bool]:
        """Return whether the fixed and the moving jaw touch a cube."""
        cube, bodies = self.cube_bodies[index], self.model.geom_bodyid
        contacts = self.data.contact.geom[: self.data.ncon]
        others = {int(bodies[b]) for a, b in contacts if bodies[a] == cube}
        others |= {int(bodies[a]) for a, b in contacts if bodies[b] == cube}
        return self.palm in others, self.jaw in others

    def obstacles_stand_free(self) -> bool:
        """Return whether wall and post touch nothing but the table, in the state as it is."""
        self.update()
        mine = {self.model.body(name).id for name in ("wall", "post")}
        pairs = self.model.geom_bodyid[self.data.contact.geom[: self.data.ncon]]
        return not any((first in mine) != (second in mine) for first, second in pairs)

    def held(self, index: int) -> bool:
        """Return whether a cube is between both jaws and off the table."""
        return all(self.touched(index)) and bool(self.cube(index)[2] > self.cube_half(index) + 0.004)

    # Putting things ---------------------------------------------------------------------------------------------------

    def put_cube(self, index: int, x: float, y: float, yaw: float = 0.0, z: float | None = None) -> None:
        """Lay a cube on the table (or at height z), at rest."""
        at, dof = self._cube_qpos[index], self._cube_dof[index]
        height = self.cube_half(index) if z is None else z
        self.data.qpos[at : at + 7] = [x, y, height, math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)]
        self.data.qvel[dof : dof + 6] = 0.0

    def park_cube(self, index: int) -> None:
        """Put a cube away, behind the arm, where it is not drawn."""
        self.put_cube(index, PARKED_BEHIND, 0.15 * index)

    def is_parked(self, index: int) -> bool:
        """Return whether a cube is put away."""
        return bool(self.cube(index)[0] < PARKED_BEHIND + 0.05)

    def put(self, name: str, position: Sequence[float] | None, yaw: float = 0.0) -> None:
        """Put a mocap body somewhere, or away with None."""
        at = self.model.body(name).mocapid[0]
        self.data.mocap_pos[at] = (0.0, 0.0, PARKED_BELOW) if position is None else position
        self.data.mocap_quat[at] = (math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2))

    def put_arm(self, joints: np.ndarray) -> None:
        """Set the six joints (rad), at rest, their targets there too."""
        self.data.qpos[self.qpos] = joints
        self.data.qvel[self.dofs] = 0.0
        self.data.ctrl[self.motors] = joints

    def update(self) -> None:
        """Bring positions, contacts and cameras up to date with the state."""
        for i in range(self.layout.cubes):
            self.model.geom(f"cube{i}").rgba[3] = 0.0 if self.is_parked(i) else 1.0
        mujoco.mj_fwdPosition(self.model, self.data)
