"""How far an arm, with what it holds, stays away from the wall, the post and itself: what poses and ways are chosen by.

Distances between convex geoms are MuJoCo's, on a data of its own, at a few poses along a straight way in joint space.
That is enough for two obstacles and a dozen ways to choose from; no search is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Float

from jepaflow.sims.arms.desk import Desk

OBSTACLES = ("wall", "post")
MARGIN = 0.012
"""m that a way shall keep from an obstacle."""
SAMPLES = 7
"""Poses looked at along a way."""


@dataclass(frozen=True)
class Held:
    """A cube in the hand: where it is in the fingertips' frame."""

    at: int
    """Where its pose is in `qpos`."""
    geoms: tuple[int, ...]
    offset: Float[np.ndarray, " 3"]
    turn: Float[np.ndarray, " 4"]


class Clearance:
    """Looks ahead for one desk; the simulation is not touched.

    Args:
        desk: the scene.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk, model = desk, desk.model
        self.data = mujoco.MjData(model)
        moving = {int(body) for body in model.jnt_bodyid[model.dof_jntid[desk.dofs]]}
        self._arm = tuple(
            geom
            for geom in range(model.ngeom)
            if int(model.body_weldid[model.geom_bodyid[geom]]) in moving and model.geom_contype[geom]
        )

    def standing(self) -> list[int]:
        """Return the geoms of the obstacles that are on the desk."""
        bodies = [self.desk.model.body(name) for name in OBSTACLES if self.desk.is_there(name)]
        return [int(geom) for body in bodies for geom in range(body.geomadr[0], body.geomadr[0] + body.geomnum[0])]

    def heading(self, name: str) -> float:
        """Return how an obstacle is turned, rad."""
        w, _, _, z = self.desk.data.mocap_quat[self.desk.model.body(name).mocapid[0]]
        return float(2 * math.atan2(z, w))

    def hold(self, cube: int) -> Held:
        """Return a cube as it is in the hand now."""
        desk, real = self.desk, self.desk.data
        at = int(desk.model.joint(f"cube{cube}").qposadr[0])
        body = desk.model.body(f"cube{cube}")
        frame, back, turn = np.empty(4), np.empty(4), np.empty(4)
        mujoco.mju_mat2Quat(frame, real.site_xmat[desk.tcp_site])
        mujoco.mju_negQuat(back, frame)
        mujoco.mju_mulQuat(turn, back, real.qpos[at + 3 : at + 7])
        offset = real.site_xmat[desk.tcp_site].reshape(3, 3).T @ (real.qpos[at : at + 3] - desk.tcp())
        geoms = tuple(range(int(body.geomadr[0]), int(body.geomadr[0] + body.geomnum[0])))
        return Held(at, geoms, offset, turn)

    def tangled(self, joints: np.ndarray) -> bool:
        """Return whether the arm touches itself in a pose (six joints, rad)."""
        data = self.data
        data.qpos[:] = self.desk.data.qpos
        data.qpos[self.desk.qpos] = joints
        mujoco.mj_kinematics(self.desk.model, data)
        mujoco.mj_collision(self.desk.model, data)
        return any(
            int(first) in self._arm and int(second) in self._arm for first, second in data.contact.geom[: data.ncon]
        )

    def trespass(self, poses: list[np.ndarray], held: Held | None = None) -> float:
        """Return by how much (m) a way through poses (six joints, rad) falls short of MARGIN, summed over SAMPLES a leg."""
        data, real, standing = self.data, self.desk.data, self.standing()
        data.qpos[:] = real.qpos
        data.mocap_pos[:], data.mocap_quat[:] = real.mocap_pos, real.mocap_quat
        short = 0.0
        for start, goal in zip(poses, poses[1:]):
            for share in np.linspace(0, 1, SAMPLES + 1)[1:]:
                short += MARGIN - self._distance(start + share * (goal - start), held, standing)
        return short

    def _distance(self, joints: np.ndarray, held: Held | None, standing: list[int]) -> float:
        """Return the least distance in one pose, m: negative inside, at most MARGIN."""
        model, data, site = self.desk.model, self.data, self.desk.tcp_site
        data.qpos[self.desk.qpos] = joints
        mujoco.mj_kinematics(model, data)
        if held is not None:
            frame, turn = np.empty(4), np.empty(4)
            mujoco.mju_mat2Quat(frame, data.site_xmat[site])
            mujoco.mju_mulQuat(turn, frame, held.turn)
            data.qpos[held.at : held.at + 3] = data.site_xpos[site] + data.site_xmat[site].reshape(3, 3) @ held.offset
            data.qpos[held.at + 3 : held.at + 7] = turn
            mujoco.mj_kinematics(model, data)
        mine = np.array(self._arm + (held.geoms if held is not None else ()))
        least = MARGIN
        for obstacle in standing:
            apart = np.linalg.norm(data.geom_xpos[mine] - data.geom_xpos[obstacle], axis=1)
            near = mine[apart - model.geom_rbound[mine] - model.geom_rbound[obstacle] < least]
            for geom in near.tolist():
                least = min(least, mujoco.mj_geomDistance(model, data, geom, obstacle, least, None))
        return least
