"""The words that arm experts are written in: go, descend, close, lift, carry, release. Each is a generator of targets.

An expert's plan is a Python generator that yields one six-joint target (rad) per control step and looks at the
simulator's state whenever it likes; so a script reads as it is said, and a closed loop is a `while`. Motions are
smoothsteps between joint targets that inverse kinematics found.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.kinematics import Kinematics

Targets = Generator[np.ndarray, None, Any]

STRICT, LOOSE = 0.12, 0.02
"""Weights of pointing down: near the table, and high up where the arm cannot."""
HOVER = 0.055
"""m above a grasp from which it is begun."""
CARRY = 0.085
"""m above the table at which things are carried."""


class Hand:
    """One arm's vocabulary.

    Args:
        env: the world; its state is read, nothing is written.
        rng: draws what a motion leaves open.
    """

    def __init__(self, env: ArmEnv, rng: np.random.Generator) -> None:
        self.env, self.rng, self.desk = env, rng, env.desk
        self.solver = Kinematics(env.desk)
        self.target = env.desk.data.ctrl[env.desk.motors].copy()
        """The last target that was asked for, rad."""
        self.phase = "begin"
        self.pace = 1.0
        """Stretches every motion's duration."""

    def grip(self, joint: float, steps: int) -> Targets:
        """Move the gripper joint (rad) alone."""
        goal = self.target.copy()
        goal[5] = joint
        yield from self.to(goal, steps)

    def to(self, goal: np.ndarray, steps: int) -> Targets:
        """Move all targets smoothly to `goal` in some control steps."""
        start, steps = self.target.copy(), max(1, round(steps * self.pace))
        for t in range(1, steps + 1):
            share = t / steps
            self.target = start + (goal - start) * share * share * (3 - 2 * share)
            yield self.target.copy()

    def wait(self, steps: int) -> Targets:
        """Hold."""
        for _ in range(steps):
            yield self.target.copy()

    def reach(self, position: np.ndarray, steps: int, yaw: float | None = None, weight: float = STRICT) -> Targets:
        """Bring the fingertips to a point (m), the gripper as it is."""
        goal = self.solver.solve(position, self.target, yaw, weight).joints
        goal[5] = self.target[5]
        yield from self.to(goal, steps)

    def home(self, steps: int = 25) -> Targets:
        """Go to the first pose, gripper as it is."""
        goal = np.array(self.env.arm.home)
        goal[5] = self.target[5]
        yield from self.to(goal, steps)

    def grasp(self, cube: int, miss: np.ndarray | None = None, attempt: int = 0) -> Targets:
        """Go down on a cube and close; `miss` (m) shifts the fingertips away from it, a later attempt comes otherwise."""
        arm = self.env.arm
        self.phase = "approach"
        where = self.desk.cube(cube).copy() + (0.0 if miss is None else miss)
        openings = (arm.release, arm.release + 0.4 * (arm.squeeze - arm.release))
        down, yaw = self.solver.grasp(where, self.target, self.desk.cube_yaw(cube), cube, openings, attempt)
        goal = self.solver.solve(where + [0, 0, HOVER], down.joints, yaw).joints
        yield from self.to(goal, 25)
        self.phase = "descend"
        if miss is None:
            where[:2] = self.desk.cube(cube)[:2]
        for height in (0.035, 0.015, 0.002):
            yield from self.reach(where + [0, 0, height], 7, yaw)
        self.phase = "close"
        yield from self.grip(arm.squeeze, 12)

    def lift(self, height: float = 0.08, steps: int = 15) -> Targets:
        """Go straight up."""
        self.phase = "lift"
        here = self.solver.forward(self.target)[0]
        yield from self.reach(here + [0, 0, height], steps, None, LOOSE)

    def carry(self, place: np.ndarray, height: float, steps: int = 25) -> Targets:
        """Carry to above a place (x, y in m) at a height, over or round an obstacle."""
        self.phase = "carry"
        detour = self._detour(place)
        if detour is not None:
            yield from self.reach(detour, steps, None, LOOSE)
        yield from self.reach(np.array([place[0], place[1], height]), steps, None, LOOSE)

    def _detour(self, place: np.ndarray) -> np.ndarray | None:
        """Return a point to carry through: above the wall, or beside the post on the arm's side of it."""
        desk = self.desk
        if desk.is_there("wall"):
            x, y, _ = desk.place("wall")
            return np.array([x, y, 0.135])
        if desk.is_there("post"):
            post = desk.place("post")[:2]
            along = place[:2] - self.solver.forward(self.target)[0][:2]
            side = np.array([-along[1], along[0]]) / max(1e-6, float(np.hypot(*along)))
            side *= -1.0 if side @ post > 0 else 1.0  # the nearer side is the one that the arm reaches
            return np.array([*(post + 0.075 * side), 0.11])
        return None

    def release(self, steps: int = 8) -> Targets:
        """Open."""
        self.phase = "release"
        yield from self.grip(self.env.arm.release, steps)
        yield from self.wait(3)

    def holds(self, cube: int) -> bool:
        """Return whether the cube is between the jaws and off the table."""
        return self.desk.held(cube)
