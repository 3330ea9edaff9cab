"""A cube slips on purpose, once: for measuring whether whoever acts notices and tries again.

Unlike `mishaps` it knows nothing of the policy: as soon as any cube has been carried in the air for a drawn while, clear of all bins, it
and the jaws lose their friction until it has fallen. Nothing of this is in an action.
"""

from __future__ import annotations

import numpy as np

from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.events import AIR
from jepaflow.sims.arms.mishaps import FRICTION, LASTS
from jepaflow.sims.arms.tasks import clear_of_bins

WAIT = (3, 12)
"""Range of the control steps in the air before it slips."""


class Slip:
    """One slip in one episode. Call `before` ahead of each control step's action, `after` behind its physics.

    Args:
        env: the world, in the episode's start state.
        rng: draws when it strikes.
    """

    def __init__(self, env: ArmEnv, rng: np.random.Generator) -> None:
        self.began: int | None = None
        """The control step before which it struck."""
        self._env, self._wait, self._left = env, int(rng.integers(*WAIT)), 0
        self._was = env.desk.model.geom_friction.copy()

    def before(self, step: int) -> None:
        """Strike if the moment has come."""
        if self.began is not None:
            return
        desk = self._env.desk
        for cube in range(self._env.scene.cubes):
            high = desk.cube(cube)[2] > desk.cube_half(cube) + AIR
            if high and desk.held(cube) and clear_of_bins(desk, desk.cube(cube)[:2], 0.0):
                self._wait -= 1
                if self._wait <= 0:
                    self.began, self._left = step, LASTS["slippery"]
                    touching = np.isin(desk.model.geom_bodyid, [desk.cube_bodies[cube], desk.palm, desk.jaw])
                    desk.model.geom_friction[touching] = FRICTION
                return

    def after(self) -> None:
        """Count down; put everything right at the end."""
        self._left -= self._left > 0
        if not self._left:
            self.end()

    def end(self) -> None:
        """Make the world what it was."""
        self._env.desk.model.geom_friction[:] = self._was
