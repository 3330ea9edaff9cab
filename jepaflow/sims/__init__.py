"""Worlds that can be acted in, as Gymnasium environments, and their scripted experts. Knows nothing of latents.

MuJoCo chooses its OpenGL when it is first imported, so the choice is made here, before any module of this room.
"""

from __future__ import annotations

import os
import sys

import gymnasium

if sys.platform.startswith("linux"):
    os.environ.setdefault("MUJOCO_GL", "egl")  # works without a display
os.environ.setdefault("LP_NUM_THREADS", "0")  # software GL draws in the calling thread: processes do not fight

gymnasium.register(id="jepaflow/TwoRoom-v0", entry_point="jepaflow.sims.two_room:TwoRoomEnv", max_episode_steps=200)
