"""The words that arm experts are written in: go, descend, close, lift, carry, release. Each is a generator of targets.

An expert's plan is a Python generator that yields one six-joint target (rad) per control step and looks at the
simulator's state whenever it likes; so a script reads as it is said, and a closed loop is a `while`. Motions are
smoothsteps between joint targets that inverse kinematics found.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from jepaflow.sims.arms.clearance import Clearance
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.kinematics import Kinematics

Targets = Generator[np.ndarray, None, Any]

STRICT, LOOSE = 0.12, 0.02
"""Weights of pointing down: near the table, and high up where the arm cannot."""
HOVER = 0.055
"""m above a grasp from which it is begun."""
CARRY = 0.085
"""m above the table at which things are carried."""
SHY = 300.0
"""rad of longer motion that are accepted per m of trespass on an obstacle's margin."""


class Hand:
    """One arm's vocabulary.

    Args:
        env: the world; its state is read, nothing is written.
        rng: draws what a motion leaves open.
    """

    def __init__(self, env: ArmEnv, rng: np.random.Generator) -> None:
        self.env, self.rng, self.desk = env, rng, env.desk
        self.solver, self.clearance = Kinematics(env.desk), Clearance(env.desk)
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
        yield from self.travel([np.array([*self.env.arm.home[:5], self.target[5]])], steps)

    def grasp(self, cube: int, miss: np.ndarray | None = None, attempt: int = 0) -> Targets:
        """Go down on a cube and close; `miss` (m) shifts the fingertips away from it, a later attempt comes otherwise."""
        arm = self.env.arm
        self.phase = "approach"
        where = self.desk.cube(cube).copy() + (0.0 if miss is None else miss)
        hover, yaw = self._stance(where, cube, attempt)
        yield from self.travel([hover], 25)
        self.phase = "descend"
        if miss is None:
            where[:2] = self.desk.cube(cube)[:2]
        for height in (0.035, 0.015, 0.002):
            yield from self.reach(where + [0, 0, height], 7, yaw)
        self.phase = "close"
        yield from self.grip(arm.squeeze, 12)

    def _stance(self, where: np.ndarray, cube: int, attempt: int) -> tuple[np.ndarray, float]:
        """Return the pose above a grasp and the jaws' yaw; beside an obstacle the one that keeps away from it."""
        arm = self.env.arm
        openings = (arm.release, arm.release + 0.4 * (arm.squeeze - arm.release))
        best, least = (self.target, 0.0), math.inf
        for other in range(4 if self.clearance.standing() else 1):
            down, yaw = self.solver.grasp(where, self.target, self.desk.cube_yaw(cube), cube, openings, attempt + other)
            hover = self.solver.solve(where + [0, 0, HOVER], down.joints, yaw).joints
            short = self.clearance.trespass([self.target, hover, down.joints])
            if short < least - 1e-3:
                best, least = (hover, yaw), short
            if least <= 1e-3:
                break
        return best

    def lift(self, height: float = 0.08, steps: int = 15, cube: int | None = None) -> Targets:
        """Go straight up, perhaps with a cube."""
        self.phase = "lift"
        point = self.solver.forward(self.target)[0] + [0, 0, height]
        yield from self.travel(self._poses(point, (None,)), steps, cube)

    def carry(
        self, place: np.ndarray, height: float, steps: int = 25, cube: int | None = None, drop: float | None = None
    ) -> Targets:
        """Carry a cube to above a place (x, y in m) at a height, over or round an obstacle, to open at a lower one."""
        self.phase = "carry"
        turn = self.solver.forward(self.target)[1]
        yaw = math.atan2(turn[1, 0], turn[0, 0])
        point = np.array([place[0], place[1], height])
        yield from self.travel(self._poses(point, (None, yaw, yaw + 0.8, yaw - 0.8)), steps, cube, drop)

    def travel(
        self, goals: Sequence[np.ndarray], steps: int, cube: int | None = None, drop: float | None = None
    ) -> Targets:
        """Go to the first of some poses; with an obstacle on the desk, to the one and by the way that stay clear of it.

        Args:
            goals: six-joint poses that would all do, rad, the best liked first.
            steps: control steps of each leg.
            cube: what is in the hand.
            drop: height below the goal at which the gripper will be opened, m.
        """
        for leg in self._way(list(goals), cube, drop):
            yield from self.to(leg, steps)

    def _poses(self, point: np.ndarray, yaws: Sequence[float | None]) -> list[np.ndarray]:
        """Return poses that bring the fingertips to a point; one that points down less is liked less."""
        if not self.clearance.standing():
            return [self.solver.solve(point, self.target, yaws[0], LOOSE).joints]
        weights = (LOOSE, STRICT, LOOSE / 4)
        found = [self.solver.solve(point, self.target, yaw, weight) for weight in weights for yaw in yaws]
        return [solution.joints for solution in found if solution.error < 0.02] or [found[0].joints]

    def _way(self, goals: list[np.ndarray], cube: int | None, drop: float | None) -> list[np.ndarray]:
        """Return the legs of the best way: short, and clear of everything if there is such a way."""
        if not self.clearance.standing():
            return goals[:1]
        held = self.clearance.hold(cube) if cube is not None else None
        ways = [[goal] for goal in goals] + [[via, goal] for via in self._detours() for goal in goals[:3]]
        lengths = [sum(float(np.abs(b - a).sum()) for a, b in zip([self.target, *way], way)) for way in ways]
        best, least = ways[0], math.inf
        for length, way in sorted(zip(lengths, ways), key=lambda entry: entry[0]):
            if length >= least:
                break
            cost = length + SHY * self.clearance.trespass([self.target, *way], held)
            if drop is not None:
                cost += SHY * self.clearance.trespass([way[-1], *self._opened(way[-1], drop)])
            if cost < least:
                best, least = way, cost
        return best

    def _opened(self, pose: np.ndarray, height: float) -> list[np.ndarray]:
        """Return the poses of going down from one to a height and opening there."""
        point = self.solver.forward(pose)[0]
        low = self.solver.solve(np.array([*point[:2], height]), pose, None, LOOSE).joints
        return [low, np.array([*low[:5], self.env.arm.release])]

    def _detours(self) -> list[np.ndarray]:
        """Return poses to go through: above the obstacles, and beside them on both sides."""
        points: list[np.ndarray] = []
        if self.desk.is_there("wall"):
            place, turn = self.desk.place("wall"), self.clearance.heading("wall")
            end = 0.105 * np.array([-math.sin(turn), math.cos(turn), 0.0])
            points += [place + [0, 0, 0.14], place + end + [0, 0, 0.11], place - end + [0, 0, 0.11]]
        if self.desk.is_there("post"):
            place = self.desk.place("post")
            around = ((0.075, 0), (-0.075, 0), (0, 0.075), (0, -0.075))
            points += [place + [0, 0, 0.165], *(place + [x, y, 0.11] for x, y in around)]
        found = [self.solver.solve(point, self.target, None, LOOSE / 4) for point in points]
        return [np.array([*way.joints[:5], self.target[5]]) for way in found if way.error < 0.02]

    def release(self, steps: int = 8) -> Targets:
        """Open."""
        self.phase = "release"
        yield from self.grip(self.env.arm.release, steps)
        yield from self.wait(3)

    def holds(self, cube: int) -> bool:
        """Return whether the cube is between the jaws and off the table."""
        return self.desk.held(cube)
