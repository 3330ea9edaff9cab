"""Undirected motion for the arms: what a planner will try, which no demonstration shows.

A learned dynamics fails first on a planner's own actions (`feasibility`: skill@5 falls from .96 to .75), so two more
ways of acting are recorded:

- *play*: random things that a curious person does with the arm: go somewhere, sweep through a cube, pick one up and put
  it down or drop it elsewhere. Contact without a goal.
- *babble*: smooth random joint displacements, drawn as a planner draws them: one displacement per block of control
  steps, linear inside the block, correlated from block to block; begun near a cube, so that something happens.

Both act until the caller stops them.
"""

from __future__ import annotations

import math

import numpy as np

from jepaflow.sims.arms.expert import ArmExpert, Scripted
from jepaflow.sims.arms.script import LOOSE, Targets

BLOCK = 5
"""Control steps of one babbled displacement."""
FLOOR = 0.006
"""m above the table below which a babbled target is drawn anew."""


class Play(ArmExpert):
    """Does one thing after another, none of them the task."""

    def script(self) -> Targets:
        """Chain random deeds."""
        deeds = [self._wander]
        if self.env.scene.cubes:
            deeds += [self._sweep_through, self._handle]
        while True:
            yield from deeds[int(self.rng.integers(len(deeds)))]()

    def _spot(self) -> np.ndarray:
        """Draw a place on the table within reach."""
        place = self.env.arm.workplace
        return np.array([self.rng.uniform(*place.near), self.rng.uniform(place.across[0], -place.across[0])])

    def _wander(self) -> Targets:
        """Go somewhere, low or high, the gripper anyhow."""
        hand, arm = self.hand, self.env.arm
        hand.phase = "random"
        point = np.array([*self._spot(), self.rng.uniform(0.02, 0.14)])
        goal = hand.solver.solve(point, hand.target, None, LOOSE).joints
        goal[5] = arm.squeeze + self.rng.random() * (arm.release - arm.squeeze)  # some grippers close upwards
        yield from hand.to(goal, int(self.rng.integers(12, 35)))
        yield from hand.wait(int(self.rng.integers(0, 6)))

    def _sweep_through(self) -> Targets:
        """Push a cube towards a drawn place, as far as it goes."""
        cube, spot = int(self.rng.integers(self.env.scene.cubes)), self._spot()
        if self._stand(cube, spot).error > 0.02:
            return  # out of reach, or so near that the arm would hit itself
        yield from self.sweep(cube, spot, near=0.02)
        yield from self.hand.lift(self.rng.uniform(0.03, 0.09), 8)

    def _handle(self) -> Targets:
        """Pick a cube up and put it down, or let it fall, somewhere else."""
        hand, cube = self.hand, int(self.rng.integers(self.env.scene.cubes))
        yield from hand.grasp(cube, None, int(self.rng.integers(3)))
        yield from hand.lift(self.rng.uniform(0.03, 0.09))
        spot = self._spot()
        yield from hand.carry(spot, self.rng.uniform(0.05, 0.11), int(self.rng.integers(15, 30)))
        if self.rng.random() < 0.6:
            yield from hand.reach(np.array([*spot, 0.004 + self.env.arm.workplace.cube]), 15)
        yield from hand.release()
        yield from hand.lift(0.05, 8)


class Babble(Scripted):
    """Draws joint displacements as a planner does."""

    def script(self) -> Targets:
        """Go near something, then babble on."""
        hand, rng, arm = self.hand, self.rng, self.env.arm
        hand.phase = "random"
        spread = np.exp(rng.uniform(math.log(0.03), math.log(0.18)))
        """Standard deviation of a block's displacement, rad: from hesitant to brisk."""
        keep = rng.uniform(0.0, 0.8)
        yield from self._approach()
        drift = np.zeros(6)
        limits = self.env.desk.model.actuator_ctrlrange[self.env.desk.motors]
        while True:
            drift = keep * drift + math.sqrt(1 - keep**2) * spread * rng.standard_normal(6) * (1, 0.7, 0.7, 1, 1.5, 2)
            goal = np.clip(hand.target + drift, limits[:, 0], limits[:, 1])
            goal[5] = min(max(goal[5], min(arm.squeeze, arm.release)), max(arm.squeeze, arm.release))
            if hand.solver.forward(goal)[0][2] < FLOOR:  # pressing on the table teaches nothing and heats real servos
                drift = np.zeros(6)
                goal = hand.target + np.array([0.0, -0.5 * spread, 0.0, 0.0, 0.0, 0.0])
            start = hand.target.copy()
            for t in range(1, BLOCK + 1):
                hand.target = start + (goal - start) * (t / BLOCK)
                yield hand.target.copy()

    def _approach(self) -> Targets:
        """Go to just above or beside a cube (or the marker, or anywhere)."""
        hand, rng, desk = self.hand, self.rng, self.env.desk
        if self.env.scene.cubes:
            near = desk.cube(int(rng.integers(self.env.scene.cubes))).copy()
        elif self.env.rules.layout.marker:
            near = desk.place("marker").copy()
        else:
            near = desk.tcp().copy()
        near[:2] += rng.normal(0.0, 0.025, 2)
        near[2] = rng.uniform(0.01, 0.08)
        yield from hand.reach(near, int(rng.integers(15, 30)), None, LOOSE)
