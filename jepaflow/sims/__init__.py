"""Worlds that can be acted in, as Gymnasium environments, and their scripted experts. Knows nothing of latents.

MuJoCo's OpenGL is chosen in `rendering`, when the first picture is drawn.
"""

from __future__ import annotations

import os

import gymnasium

os.environ.setdefault("LP_NUM_THREADS", "0")  # software GL draws in the calling thread: processes do not fight

gymnasium.register(id="jepaflow/TwoRoom-v0", entry_point="jepaflow.sims.two_room:TwoRoomEnv", max_episode_steps=200)
gymnasium.register(id="jepaflow/Maze-v0", entry_point="jepaflow.sims.maze:MazeEnv", max_episode_steps=400)
gymnasium.register(id="jepaflow/PushT-v0", entry_point="jepaflow.sims.push_t:PushTEnv", max_episode_steps=300)
gymnasium.register(id="jepaflow/Reacher-v0", entry_point="jepaflow.sims.reacher:ReacherEnv", max_episode_steps=1000)
for _arm, _name in (("so101", "SO101"), ("koch", "Koch")):
    for _task in ("reach", "push", "lift", "pick_place", "sort", "place", "stack"):
        gymnasium.register(
            id=f"jepaflow/{_name}{_task.title().replace('_', '')}-v0",
            entry_point="jepaflow.sims.arms.env:ArmEnv",
            kwargs={"arm": _arm, "task": _task},
            max_episode_steps=1000,
        )
