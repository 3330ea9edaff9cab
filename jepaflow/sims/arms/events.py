"""What happened to the objects, frame by frame, judged from the physics and from what the actor was about to do.

An event is a number in the data (`EVENTS`), written at the frame in which it shows: a grasp that closed on nothing or
lost the cube before it was in the air, a cube that got lost from the jaws though nobody wanted to let go (at once: a
drop; while the grip was giving way: a slip), the task's being done.
"""

from __future__ import annotations

from jepaflow.sims.arms.env import ArmEnv

EVENTS = ("none", "missed_grasp", "drop", "slip", "task_done")
NONE, MISSED, DROP, SLIP, DONE = range(len(EVENTS))
AIR = 0.008
"""m above its rest height from which a lost cube has dropped."""


class EventWatch:
    """Watches one episode; call `now` once per frame, before the frame's action.

    Args:
        env: the world.
    """

    def __init__(self, env: ArmEnv) -> None:
        self._env = env
        self._held: set[int] = set()
        self._done = False
        self._grasping = False
        self._phase = ""

    def now(self, phase: str) -> int:
        """Return the event that this frame shows, given what the actor was doing in the frame before (its phase)."""
        before, self._phase = self._phase, phase
        lost, missed = self._lost(), self._missed(before, phase)
        self._done &= not lost  # what was done is undone, and may be done again
        if missed:
            return MISSED
        if lost and phase not in ("release", "random"):
            return SLIP if phase == "loosen" else DROP
        if not self._done and self._env.is_success():
            self._done = True
            return DONE
        return NONE

    def _lost(self) -> bool:
        """Return whether a cube that was held hangs between the jaws no more, high above the table."""
        desk = self._env.desk
        between = {i for i in range(self._env.rules.layout.cubes) if all(desk.touched(i))}
        gone = self._held - between
        self._held = (self._held & between) | {i for i in between if desk.held(i)}
        lost = any(desk.cube(i)[2] > desk.cube_half(i) + AIR for i in gone)
        self._grasping &= not lost
        return lost

    def _missed(self, before: str, phase: str) -> bool:
        """Return whether the jaws have just closed on nothing, or a lift has just ended with nothing in them."""
        desk = self._env.desk
        if phase in ("close", "release"):
            self._grasping = phase == "close"
        if not self._grasping or before == phase or before not in ("close", "lift"):
            return False
        if before == "close":
            empty = not any(all(desk.touched(i)) for i in range(self._env.rules.layout.cubes))
            self._grasping = not empty
        else:
            empty, self._grasping = not self._held, False
        return empty
