"""Scripted experts for the arm tasks: they read the simulator's state, try a few times, and end.

An expert is a generator (see `script`) wrapped so that `act()` gives LeRobot actions. Ornstein-Uhlenbeck noise is added
to the body joints' targets and what was sent is what is recorded. With a chance that the caller sets, an attempt is
spoilt on purpose: the grasp misses, the cube is dropped on the way, or the grip gives way until it slips; the next
attempt mends it, and the last one is never spoilt. So the data hold failures and recoveries, labelled (`events`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.script import CARRY, LOOSE, Hand, Targets
from jepaflow.sims.arms.tasks import Sort, in_bin

SPOILS = ("miss", "drop", "slip")
BESIDE = -0.0125
"""m along the jaws from the fingertips' point, which is between open jaws, to where they close."""


@dataclass(frozen=True)
class Stand:
    """How the closed jaws stand behind a cube that they will push."""

    place: np.ndarray
    """Where (x, y), m."""
    way: np.ndarray
    """Direction to the goal (x, y)."""
    yaw: float
    """Of the jaws, rad."""
    joints: np.ndarray
    """Six, rad; the gripper's as it was."""
    error: float
    """How far from the place these joints are, m; infinite where the arm would hit itself."""


@dataclass(frozen=True)
class ArmExpertConfig:
    """How an expert behaves."""

    noise: float = 0.0
    """Standard deviation of the noise on body joint targets, rad."""
    noise_steps: float = 15.0
    """Its time constant, control steps."""
    spoil: float = 0.0
    """Chance that an attempt is spoilt on purpose."""
    pace: float = 1.0
    """Stretches the motions: 1.3 is slower."""
    tries: int = 4
    """Attempts per object."""

    def __post_init__(self) -> None:
        """Refuse what cannot be acted."""
        if self.noise < 0 or self.noise_steps < 1 or not 0 <= self.spoil <= 1 or self.pace <= 0 or self.tries < 1:
            raise JepaflowError(
                "an arm expert needs noise >= 0, noise_steps >= 1, spoil in 0..1, pace > 0, tries >= 1. Mend its settings."
            )


class Noise:
    """Ornstein-Uhlenbeck noise on the five body joints, rad; the gripper stays sure."""

    def __init__(self, rng: np.random.Generator, deviation: float, steps: float) -> None:
        self._rng, self._deviation = rng, deviation
        self._keep = 1.0 - 1.0 / steps
        self._now = np.zeros(6)

    def next(self) -> np.ndarray:
        """Return the noise of this control step, (6,)."""
        kick = self._deviation * math.sqrt(1.0 - self._keep**2) * self._rng.standard_normal(6)
        self._now = self._keep * self._now + kick
        self._now[5] = 0.0
        return self._now


class Scripted(ABC):
    """Acts out a script of targets, with noise, until the script ends.

    Args:
        env: the world, just reset.
        rng: the only source of randomness.
        config: noise, deliberate failures, pace.
    """

    def __init__(self, env: ArmEnv, rng: np.random.Generator, config: ArmExpertConfig | None = None) -> None:
        self.env, self.rng, self.config = env, rng, config or ArmExpertConfig()
        self.hand = Hand(env, rng)
        self.hand.pace = self.config.pace
        self.done = False
        """Whether the script has come to its end; `act` then holds still."""
        self.tries = 0
        """Attempts so far."""
        self._vain = 0  # grasps in a row that closed on nothing
        self._noise = Noise(rng, self.config.noise, self.config.noise_steps)
        self._plan = self.script()

    @property
    def phase(self) -> str:
        """Return what the expert is doing now."""
        return self.hand.phase

    def act(self) -> Float32[np.ndarray, " 6"]:
        """Return the next action in LeRobot's units."""
        target = next(self._plan, None)
        if target is None:
            self.done, target = True, self.hand.target
        values = self.env.arm.to_lerobot(target + self._noise.next())
        return np.asarray(np.clip(values, self.env.low, self.env.high), dtype=np.float32)

    @abstractmethod
    def script(self) -> Targets:
        """Yield one six-joint target (rad) per control step."""


class ArmExpert(Scripted):
    """Does the environment's task."""

    def script(self) -> Targets:
        """Return the script of the environment's task."""
        scripts: dict[str, Callable[[], Targets]] = {
            "reach": self._reach,
            "push": self._push,
            "lift": self._lift,
            "pick_place": self._pick_place,
            "sort": self._sort,
            "place": self._place,
            "stack": self._stack,
        }
        return scripts[self.env.rules.name]()

    # Scripts ----------------------------------------------------------------------------------------------------------

    def _reach(self) -> Targets:
        ball, hand = self.env.desk.place("marker").copy(), self.hand
        for attempt in self._attempts():
            hand.phase = "approach"
            yield from hand.reach(ball, 30, None, LOOSE / 4 ** (attempt + 1))  # high up, touching matters more than how
            yield from hand.wait(6)
            if self.env.rules.success(self.env.desk, self.env.scene):
                return

    def _lift(self) -> Targets:
        for _ in self._attempts():
            spoil = self._spoilt()
            held = yield from self._pick(0, spoil)
            if held:
                yield from self._on_the_way(self.hand.wait(30 if spoil else 10), 0, spoil)
            if self.hand.holds(0):
                return
            yield from self._let_go()

    def _pick_place(self) -> Targets:
        yield from self._bring(0, 0)
        yield from self.hand.home()

    def _place(self) -> Targets:
        for cube, which in self.env.scene.moves:
            filled = sum(in_bin(self.env.desk, other, which) for other in range(self.env.scene.cubes) if other != cube)
            yield from self._bring(cube, which, filled)
        yield from self.hand.home()

    def _sort(self) -> Targets:
        rules = self.env.rules
        assert isinstance(rules, Sort)
        filled = [0, 0]
        for _ in range(2 * self.env.scene.cubes):
            left = rules.left_over(self.env.desk, self.env.scene)
            if not left:
                break
            cube = max(left, key=self._room)  # the one that stands freest
            target = rules.target(cube)
            yield from self._bring(cube, target, filled[target])
            filled[target] += 1
        yield from self.hand.home()

    def _stack(self) -> Targets:
        desk, hand = self.env.desk, self.hand
        for _ in self._attempts():
            spoil = self._spoilt()
            held = yield from self._pick(0, spoil)
            under = desk.cube(1).copy()
            top = under[2] + desk.cube_half(0) + desk.cube_half(1)
            yaw = self._square_to(desk.cube_yaw(1))
            if held:
                yield from self._on_the_way(hand.carry(under, top + 0.05, cube=0), 0, spoil)
            if hand.holds(0):
                sag = hand.solver.forward(hand.target)[0] - desk.cube(0)  # where the cube really hangs in the jaws
                for height in (0.02, 0.004):
                    yield from hand.reach(under + [*sag[:2], 0] + [0, 0, top - under[2] + sag[2] + height], 12, yaw)
                yield from self._centre(0, 1, yaw)
                yield from hand.release(10)
                here = hand.solver.forward(hand.target)[0]
                yield from hand.reach(here + [0, 0, 0.035], 10, yaw)  # a hand that tilts would take the cube along
                yield from hand.lift(0.03, 8)
            else:
                yield from self._let_go()
            if self.env.rules.success(desk, self.env.scene):
                break
        yield from hand.home()

    def _centre(self, cube: int, under: int, yaw: float) -> Targets:
        """Look, and mend by how much the cube in the hand is off the one below."""
        desk, hand = self.env.desk, self.hand
        for _ in range(5):
            yield from hand.wait(1)
            off = desk.cube(cube)[:2] - desk.cube(under)[:2]
            if np.hypot(*off) < 0.002:
                return
            here = hand.solver.forward(hand.target)[0]
            yield from hand.reach(here - [*off, 0], 3, yaw)

    def _push(self) -> Targets:
        desk, hand = self.env.desk, self.hand
        goal = desk.place("marker")[:2].copy()
        for attempt in self._attempts():
            if self._stand(0, goal).error < 0.005 and attempt + 1 < self.config.tries:
                yield from self.sweep(0, goal, near=0.006)
            else:
                yield from self._drag(0, goal)
            yield from hand.lift(0.07, 10)
            if self.env.rules.success(desk, self.env.scene):
                break
        yield from hand.home()

    def _attempts(self) -> Iterator[int]:
        """Count the attempts at one object, from 0."""
        self._vain = 0
        for attempt in range(self.config.tries):
            self.tries = attempt + 1
            yield attempt

    # Parts ------------------------------------------------------------------------------------------------------------

    def sweep(self, cube: int, goal: np.ndarray, near: float) -> Targets:
        """Set the closed gripper down behind the cube and push it towards `goal`, looking after each small step."""
        desk, hand, stand = self.env.desk, self.hand, self._stand(cube, goal)
        half, way, height = desk.cube_half(cube), stand.way, max(0.008, 0.7 * desk.cube_half(cube))
        side = np.array([-way[1], way[0]])

        def fingers(place: np.ndarray, z: float, steps: int) -> Targets:
            offset = BESIDE * np.array([math.cos(stand.yaw), math.sin(stand.yaw)])
            yield from hand.reach(np.array([*(place - offset), z]), steps, stand.yaw)

        hand.phase = "approach"
        yield from hand.grip(self.env.arm.squeeze, 6)
        low = np.array([*stand.joints[:5], hand.target[5]])
        above = hand.solver.forward(low)[0] + [0, 0, 0.065]
        yield from hand.to(hand.solver.solve(above, low, stand.yaw).joints, 22)
        yield from hand.to(low, 12)
        hand.phase = "push"
        tip = stand.place.copy()
        for _ in range(60):
            here = desk.cube(cube)[:2]
            away = goal - here
            if np.hypot(*away) < near or away @ way < 0.003:
                break
            behind = here - (half + 0.008) * away / max(1e-6, float(np.hypot(*away)))
            aside = float((behind - tip) @ side)
            if (
                abs(aside) > 0.005
            ):  # step back and over to the line through cube and goal: else it would be rubbed along
                back = float((here - tip) @ way) - half - 0.018
                tip = tip + np.clip(aside, -0.006, 0.006) * side * (back > -0.006) + np.clip(back, -0.008, 0.0) * way
            else:
                tip = tip + np.clip(aside, -0.003, 0.003) * side + 0.006 * way
            if np.hypot(*(tip - here)) > 0.08:
                break
            yield from fingers(tip, height, 2)
        yield from fingers(tip - 0.015 * way, height, 5)  # or the lift would flick it away

    def _stand(self, cube: int, goal: np.ndarray) -> Stand:
        """Find where to set the closed jaws down, side by side across the way, to push a cube towards a goal (x, y)."""
        here, half, solver = self.env.desk.cube(cube)[:2].copy(), self.env.desk.cube_half(cube), self.hand.solver
        way = (goal - here) / max(1e-6, float(np.hypot(*(goal - here))))
        place, found = here - way * (half * 1.5 + 0.022), []
        for turn in (0.5, -0.5):
            yaw = math.atan2(way[1], way[0]) + turn * math.pi
            point = place - BESIDE * np.array([math.cos(yaw), math.sin(yaw)])
            pose = solver.solve(np.array([*point, max(0.008, 0.7 * half)]), self.hand.target, yaw)
            error = pose.error if not self.hand.clearance.tangled(pose.joints) else math.inf
            cost = 0.2 * abs(pose.joints[4] - self.hand.target[4]) + 1e4 * error + 20 * pose.tilt
            found.append((cost, Stand(place, way, yaw, pose.joints, error)))
        return min(found, key=lambda entry: entry[0])[1]

    def _drag(self, cube: int, goal: np.ndarray) -> Targets:
        """Take the cube between the jaws and slide it along the table."""
        hand = self.hand
        yield from hand.grasp(cube)
        hand.phase = "push"
        here, turn = hand.solver.forward(hand.target)
        way = goal - self.env.desk.cube(cube)[:2]
        legs = max(1, math.ceil(float(np.hypot(*way)) / 0.01))
        for leg in range(1, legs + 1):
            yield from hand.reach(here + [*(way * leg / legs), 0.004], 2, math.atan2(turn[1, 0], turn[0, 0]))
        yield from hand.release()

    def _pick(self, cube: int, spoil: str | None) -> Generator[np.ndarray, None, bool]:
        """Grasp and lift, or miss on purpose; return whether the cube is held. After a grasp in vain it comes otherwise."""
        hand, miss = self.hand, None
        if spoil == "miss":
            angle = self.rng.uniform(-math.pi, math.pi)
            miss = 2.2 * self.env.desk.cube_half(cube) * np.array([math.cos(angle), math.sin(angle), 0.0])
        yield from hand.grasp(cube, miss, self._vain)
        yield from hand.lift(cube=cube)
        self._vain = 0 if hand.holds(cube) else self._vain + (miss is None)
        return hand.holds(cube)

    def _let_go(self) -> Targets:
        """Open for the next attempt."""
        self.hand.phase = "recover"
        yield from self.hand.grip(self.env.arm.release, 6)
        yield from self.hand.wait(4)  # what fell comes to rest

    def _bring(self, cube: int, which: int, filled: int = 0) -> Targets:
        """Bring a cube into a bin that holds some already, in a few attempts."""
        hand, place = self.hand, self._into_bin(which, filled)
        for _ in self._attempts():
            spoil = self._spoilt()
            held = yield from self._pick(cube, spoil)
            if held:
                yield from self._on_the_way(hand.carry(place, CARRY + 0.02, 25, cube, place[2]), cube, spoil)
            if hand.holds(cube):
                yield from hand.reach(np.array([place[0], place[1], place[2]]), 8, None, LOOSE)
                yield from hand.release()
                yield from hand.lift(0.04, 8)
                return
            yield from self._let_go()
            if in_bin(self.env.desk, cube, which):  # a happy loss
                return

    def _on_the_way(self, motion: Targets, cube: int, spoil: str | None) -> Targets:
        """Carry; a spoilt carry opens the gripper at once (drop) or little by little (slip) at a drawn moment."""
        steps, hand = list(motion), self.hand
        moment = int(self.rng.uniform(0.3, 0.8) * len(steps))
        opening = self.env.arm.squeeze
        for t, target in enumerate(steps):
            if spoil in ("drop", "slip") and t >= moment:
                hand.phase = "carry" if spoil == "drop" else "loosen"
                wide = self.env.arm.release
                opening = wide if spoil == "drop" else opening + 0.04 * (wide - self.env.arm.squeeze)
                target[5] = opening
                hand.target[5] = opening
            yield target
            if not hand.holds(cube):
                hand.target = target
                return

    def _spoilt(self) -> str | None:
        """Draw how this attempt is spoilt, if it is; the last one is always honest."""
        if self.tries == self.config.tries:
            return None
        return str(self.rng.choice(SPOILS)) if self.rng.random() < self.config.spoil else None

    def _into_bin(self, which: int, filled: int = 0) -> np.ndarray:
        """Return where to let go above a bin: the middle, or beside what is in it already."""
        desk = self.env.desk
        centre = desk.place(f"bin{which}").copy()
        if self.env.rules.layout.bins > 1:
            centre[0] += (-1.0 if filled % 2 == 0 else 1.0) * 0.45 * self.env.arm.workplace.bin_half
        elif desk.is_there("post"):  # on the side away from it, where the jaws have room to open
            away = centre[:2] - desk.place("post")[:2]
            centre[:2] += 0.4 * self.env.arm.workplace.bin_half * away / max(0.05, float(np.abs(away).max()))
        return centre + [0, 0, 2.2 * self.env.arm.workplace.cube + 0.03]

    def _room(self, cube: int) -> float:
        """Return the distance to the nearest other cube or to the jaws' width, whichever is less, m."""
        here = self.env.desk.cube(cube)[:2]
        others = [self.env.desk.cube(i)[:2] for i in range(self.env.scene.cubes) if i != cube]
        return min(0.09, *(float(np.hypot(*(here - other))) for other in others), 1.0)

    def _square_to(self, yaw: float) -> float:
        """Return the jaw yaw nearest to the present one that is square to a cube."""
        turn = self.hand.solver.forward(self.hand.target)[1]
        now = math.atan2(turn[1, 0], turn[0, 0])
        return yaw + round((now - yaw) / (math.pi / 2)) * math.pi / 2
