"""Inverse kinematics by damped least squares: where the fingertips are to be, and how strictly they point down.

Three position rows, and three rows of a small weight that ask the gripper to point down and its jaws to lie along a
yaw. A low-cost arm has five joints, so orientation is a wish: near the table it is met exactly, higher up it must give
way, which the weight decides. Source: Wampler (1986), Nakamura & Hanafusa (1986).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import mujoco
import numpy as np
from jaxtyping import Float

from jepaflow.sims.arms.desk import Desk

DAMPING = 0.01
LONGEST_STEP = 0.3
"""rad per iteration and joint."""
ITERATIONS = 80
CLOSE_ENOUGH = 2e-4
"""m."""


@dataclass(frozen=True)
class Solution:
    """Joints (6, rad; the gripper as it was) and how well they do it."""

    joints: Float[np.ndarray, " 6"]
    error: float
    """Distance of the fingertips from the wish, m."""
    tilt: float
    """1 - cosine of the angle between the gripper and straight down."""


class Kinematics:
    """Solves for one desk, on a data of its own: the simulation is not touched.

    Args:
        desk: the scene; its arm's joints and site are used.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.data = mujoco.MjData(desk.model)
        self._dofs = desk.dofs[:5]
        self._limits = desk.model.jnt_range[[desk.model.dof_jntid[dof] for dof in self._dofs]]

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the fingertips' position (m) and orientation matrix for six joints (rad)."""
        self.data.qpos[self.desk.qpos] = joints
        mujoco.mj_kinematics(self.desk.model, self.data)
        mujoco.mj_comPos(self.desk.model, self.data)
        site = self.desk.tcp_site
        return self.data.site_xpos[site].copy(), self.data.site_xmat[site].reshape(3, 3).copy()

    def solve(
        self, position: np.ndarray, joints: np.ndarray, yaw: float | None = None, weight: float = 0.12
    ) -> Solution:
        """Find joints that bring the fingertips to a point.

        Args:
            position: where to, m.
            joints: where to begin the search, six joints, rad.
            yaw: direction of the jaws' opening in the table's plane, rad; None leaves it free.
            weight: how strictly the gripper shall point down, against position in m.

        Returns:
            The best joints met, within their ranges.
        """
        joints = np.array(joints, dtype=float)
        jacobian = np.zeros((3, self.desk.model.nv)), np.zeros((3, self.desk.model.nv))
        best: Solution | None = None
        for _ in range(ITERATIONS):
            where, turn = self.forward(joints)
            offset = np.asarray(position) - where
            error, tilt = float(np.linalg.norm(offset)), float(1.0 - turn[2, 2])
            wish = self._turning(turn, yaw)
            if best is None or error + weight * tilt < best.error + weight * best.tilt:
                best = Solution(joints.copy(), error, tilt)
            mujoco.mj_jacSite(self.desk.model, self.data, *jacobian, self.desk.tcp_site)
            rows = np.concatenate([jacobian[0][:, self._dofs], weight * jacobian[1][:, self._dofs]])
            target = np.concatenate([offset, weight * wish])
            step = rows.T @ np.linalg.solve(rows @ rows.T + DAMPING**2 * np.eye(6), target)
            step = np.clip(step, -LONGEST_STEP, LONGEST_STEP)
            if error < CLOSE_ENOUGH and np.abs(step).max() < 1e-3:
                break
            joints[:5] = np.clip(joints[:5] + step, self._limits[:, 0], self._limits[:, 1])
        assert best is not None
        return best

    def grasp(
        self,
        position: np.ndarray,
        joints: np.ndarray,
        yaw: float,
        cube: int | None = None,
        openings: tuple[float, ...] = (),
        skip: int = 0,
    ) -> tuple[Solution, float]:
        """Return the best solution of the four jaw yaws that fit a square, and its yaw (rad).

        Args:
            position: where the fingertips shall be, m.
            joints: where the arm is, rad.
            yaw: of the square, rad.
            cube: the cube to be grasped; a yaw at which the open jaws would stand in something else loses to a free one.
            openings: gripper joints to choose from, the best liked first; empty: as it is.
            skip: how many of the best to pass over, because they were tried in vain.
        """
        found: list[tuple[float, int, Solution, float]] = []
        for turn in range(4):
            way = yaw + turn * np.pi / 2
            solution = self.solve(position, joints, way)
            cost = 0.2 * abs(solution.joints[4] - joints[4]) + 1e4 * solution.error + 20 * solution.tilt
            for rank, opening in enumerate(openings or (float(joints[5]),)):
                pose = np.array([*solution.joints[:5], opening])
                blocked = 30.0 * self.contacts(pose, cube) if cube is not None else 0.0
                found.append((cost + blocked + 5.0 * rank, len(found), replace(solution, joints=pose), way))
        found.sort(key=lambda entry: entry[:2])
        _, _, solution, way = found[skip % len(found)]
        return solution, way

    def contacts(self, joints: np.ndarray, cube: int) -> int:
        """Count what the arm would touch in this pose apart from the table, the cube and itself."""
        desk, model = self.desk, self.desk.model
        self.data.qpos[:] = desk.data.qpos
        self.data.mocap_pos[:], self.data.mocap_quat[:] = desk.data.mocap_pos, desk.data.mocap_quat
        self.forward(joints)
        mujoco.mj_collision(model, self.data)
        arm = {int(body) for body in model.jnt_bodyid[model.dof_jntid[desk.dofs]]}
        mine = {body for body in range(model.nbody) if int(model.body_weldid[body]) in arm}
        count = 0
        for first, second in model.geom_bodyid[self.data.contact.geom[: self.data.ncon]]:
            others = {int(first), int(second)} - mine
            count += len(others) == 1 and not others & {0, desk.cube_bodies[cube]}
        return count

    def _turning(self, turn: np.ndarray, yaw: float | None) -> np.ndarray:
        """Return the rotation (world axis times angle, first order) that points down and lies along the yaw."""
        wish = np.cross(turn[:, 2], (0.0, 0.0, 1.0))  # the site's z looks away from the table
        if yaw is not None:
            wish[2] += (yaw - np.arctan2(turn[1, 0], turn[0, 0]) + np.pi) % (2 * np.pi) - np.pi
        return np.asarray(wish)
