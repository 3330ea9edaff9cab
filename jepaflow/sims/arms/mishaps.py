"""What may befall an arm while it works, without its having done anything: for measuring whether anybody notices.

Nothing of this is in an action. *Blocked*: something holds the arm, its body joints hardly move whatever the servos want.
*Moved*: a hand slides a cube aside while the gripper is away. *Slippery*: the cube and the jaws lose their friction while
the cube is carried, and the policy goes on as if it still held it (a script that does not look). Each strikes once an
episode, at a drawn moment, and wears off; the world is then what it was.
"""

from __future__ import annotations

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.expert import Scripted

MISHAPS = ("blocked", "moved", "slippery")
PHASES = {"blocked": ("approach", "lift", "carry"), "moved": ("approach",), "slippery": ("carry",)}
"""What the policy must be doing for it to strike."""
LASTS = {"blocked": 20, "moved": 5, "slippery": 15}
"""Control steps."""
DELAY = {"blocked": (4, 14), "moved": (1, 8), "slippery": (4, 14)}
"""Range of the control steps in such a phase before it strikes."""
GRIP = 500.0
"""N m s/rad: damping of the joints of an arm that somebody holds; free joints have less than 1."""
FIRM = 5
"""Control steps in which the holder's grip becomes firm: stopped at once, the arm would fling away what it carries."""
SLIDE = (0.04, 0.08)
"""Range of how far a cube is moved, m."""
AWAY = 0.07
"""m between fingertips and cube: nearer, nobody reaches in."""
FRICTION = 0.01


class Mishap:
    """One mishap in one episode. Call `before` ahead of each control step's action, `after` behind its physics.

    Args:
        env: the world, in the episode's start state.
        policy: who acts in it.
        kind: one of `MISHAPS`.
        rng: draws when it strikes, and how.

    Raises:
        JepaflowError: there is no such mishap, or no cube that it could befall.
    """

    def __init__(self, env: ArmEnv, policy: Scripted, kind: str, rng: np.random.Generator) -> None:
        if kind not in MISHAPS:
            raise JepaflowError(f"there is no mishap '{kind}'. Choose one of: {', '.join(MISHAPS)}.")
        if kind != "blocked" and not env.scene.cubes:
            raise JepaflowError(f"{env.rules.name} has no cube that could be {kind}. Choose another task.")
        self.began: int | None = None
        """The control step before which it struck."""
        self._desk, self._policy, self._kind, self._rng = env.desk, policy, kind, rng
        model = env.desk.model
        self._was = (model.dof_damping.copy(), model.geom_friction.copy())
        self._phase = str(rng.choice(PHASES[kind]))
        self._wait, self._left = int(rng.integers(*DELAY[kind])), 0
        self._path = np.zeros((0, 2))

    def before(self, step: int) -> None:
        """Strike if the moment has come; go on with what has begun."""
        if self.began is None and self._policy.phase == self._phase:
            self._wait -= 1
            if self._wait <= 0 and self._possible():
                self.began, self._left = step, LASTS[self._kind]
                self._begin()
        if self._left and self._kind == "blocked":
            firm = min(1.0, (LASTS["blocked"] - self._left + 1) / FIRM)
            self._desk.model.dof_damping[self._desk.dofs[:5]] = GRIP**firm
        if self._left and self._kind == "moved":
            x, y = self._path[LASTS["moved"] - self._left]
            self._desk.put_cube(0, float(x), float(y), self._desk.cube_yaw(0))

    def after(self) -> None:
        """Count down; put everything right at the end."""
        self._left -= self._left > 0
        if not self._left:
            self.end()

    def end(self) -> None:
        """Make the world what it was."""
        self._desk.model.dof_damping[:], self._desk.model.geom_friction[:] = self._was

    def _possible(self) -> bool:
        desk = self._desk
        if self._kind == "moved":
            return float(np.linalg.norm(desk.tcp() - desk.cube(0))) > AWAY
        return self._kind != "slippery" or desk.held(0)

    def _begin(self) -> None:
        desk, model = self._desk, self._desk.model
        if self._kind == "moved":
            angle, far, here = self._rng.uniform(-np.pi, np.pi), self._rng.uniform(*SLIDE), desk.cube(0)[:2].copy()
            way = far * np.array([np.cos(angle), np.sin(angle)])
            self._path = here + np.linspace(0, 1, LASTS["moved"] + 1)[1:, None] * way
        elif self._kind == "slippery":
            touching = np.isin(model.geom_bodyid, [desk.cube_bodies[0], desk.palm, desk.jaw])
            model.geom_friction[touching] = FRICTION
            self._policy.hand.holds = lambda cube: True  # type: ignore[method-assign]  # its script does not look
