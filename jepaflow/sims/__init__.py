"""Worlds that can be acted in, as Gymnasium environments, and their scripted experts. Knows nothing of latents."""

from __future__ import annotations

import gymnasium

gymnasium.register(id="jepaflow/TwoRoom-v0", entry_point="jepaflow.sims.two_room:TwoRoomEnv", max_episode_steps=200)
