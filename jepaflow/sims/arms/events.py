"""What happened to the objects, frame by frame, judged from the physics and from what the expert was about to do.

An event is a number in the data (`EVENTS`), written at the frame in which it shows: a grasp that closed on nothing, a
cube that got lost from the jaws though nobody wanted to let go (at once: a drop; while the grip was giving way: a
slip), the task's being done.
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
        self._phase = ""

    def now(self, phase: str) -> int:
        """Return the event that this frame shows, given what the expert is doing (its phase)."""
        env, desk = self._env, self._env.desk
        held = {i for i in range(env.rules.layout.cubes) if desk.held(i)}
        lost = [i for i in self._held - held if desk.cube(i)[2] > desk.cube_half(i) + AIR and not all(desk.touched(i))]
        self._held = (held | self._held) - {i for i in self._held - held if not all(desk.touched(i))}
        before, self._phase = self._phase, phase
        if phase == "missed" and before != phase:
            return MISSED
        if lost and phase not in ("release", "random"):
            return SLIP if phase == "loosen" else DROP
        if not self._done and env.is_success():
            self._done = True
            return DONE
        return NONE
