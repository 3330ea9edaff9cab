"""Two-Room as a Gymnasium environment: a disc must go from one place to another, perhaps through the door.

Geometry, speed and success rule are stable-worldmodel's TwoRoom-v1 (224 px world; see `two_room_geometry`); states,
steps and pictures are every disc world's (`disc_env`). The simulator state is `[agent x, agent y, target x, target y]`.
"""

from __future__ import annotations

from jepaflow.sims.disc import Point
from jepaflow.sims.disc_env import DiscEnv
from jepaflow.sims.two_room_geometry import TwoRoomConfig, waypoint


class TwoRoomEnv(DiscEnv):
    """The two rooms.

    Args:
        image_size: side of the observation's picture in px.
        config: the world's sizes; stable-worldmodel's by default.
        randomise: draw start and target anywhere free at each reset; else the canonical pair (60, 112) -> (164, 112).
        render_mode: "rgb_array" or None. `render()` draws the target too: it is for people, never for a model.

    Raises:
        JepaflowError: sizes that make no sense, an action or state of the wrong shape, a state inside a wall.
    """

    title = "Two-Room"
    canonical = ((60.0, 112.0), (164.0, 112.0))
    config: TwoRoomConfig

    def __init__(
        self,
        image_size: int = 64,
        config: TwoRoomConfig | None = None,
        randomise: bool = True,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(config or TwoRoomConfig(), image_size, randomise, render_mode)

    def waypoint(self) -> Point:
        """Return the target if it is in this room, else a point on the way through a door."""
        return waypoint(self.config, self.agent, self.target)
