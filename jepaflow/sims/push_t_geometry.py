"""Push-T's geometry: the T, where it is, how far a point is from it, and which places a disc can push.

The T is two bars in the block's own frame (unit: `scale` px, x right, y down): the top bar x -2..2, y 0..1 and the stem
x -.5..5, y 1..4. Its reference point, which the state calls the block's place, is the middle of the top bar's outer
edge, and it turns about its centre of gravity (0, 1.5), the plain mean of the bars' centres. Both are
stable-worldmodel's PushT-v1 (and the original Push-T's), kept because a published number depends on them: a uniform T
would have its centre at 1.357 and about half the moment of inertia.

Units: px of the 512 px window, x to the right, y down; radians, turning from x towards y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from jepaflow.common.errors import JepaflowError

WINDOW = 512.0
BARS: tuple[tuple[float, float, float, float], ...] = ((-2.0, 0.0, 2.0, 1.0), (-0.5, 1.0, 0.5, 4.0))
"""left, top, right, bottom of the two bars, in units of the scale."""
CENTRE_Y = 1.5
"""y of the centre of gravity in units of the scale (x is 0)."""
OUTLINE: tuple[tuple[float, float], ...] = (
    (-2.0, 0.0), (2.0, 0.0), (2.0, 1.0), (0.5, 1.0), (0.5, 4.0), (-0.5, 4.0), (-0.5, 1.0), (-2.0, 1.0),
)  # fmt: skip
"""The T's corners in order, in units of the scale; the two at y = 1 beside the stem are its inner corners."""
INNER_CORNERS = (3, 6)


@dataclass(frozen=True)
class PushTConfig:
    """Sizes (px), controller and success rule of Push-T. Defaults are stable-worldmodel's PushT-v1."""

    scale: float = 30.0
    """The T's unit: bars 120 x 30 and 30 x 90 px. The published data set has 30."""
    agent_radius: float = 15.0
    action_scale: float = 100.0
    """px between the agent and the controller's target that an action component of 1 means."""
    k_p: float = 100.0
    k_v: float = 20.0
    dt: float = 0.01
    """Seconds per physics step."""
    substeps: int = 10
    """Physics steps per control step: 10 Hz."""
    wall: float = 7.0
    """px from the window's left and top edges to the walls' inner faces; one more from the right and bottom edges."""
    contain_agent: bool = True
    """The walls stop the agent. Upstream they do not: there a plan can drive it out of the picture."""
    success_distance: float = 20.0
    """The four positions together (Euclidean, px) must be nearer to the goal's than this ..."""
    success_angle: float = math.pi / 9
    """... and the block's angle (rad, modulo a turn) too."""
    draw_goal: bool = False
    """Draw the goal's T as a pale green ghost in the observation, as upstream does."""

    def __post_init__(self) -> None:
        """Refuse a world that cannot be simulated, naming the value."""
        for name in ("scale", "agent_radius", "action_scale", "k_p", "dt", "success_distance", "success_angle"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise JepaflowError(f"Push-T's {name} is {getattr(self, name):g}. Give a positive number.")
        if self.substeps < 1:
            raise JepaflowError(f"Push-T's substeps is {self.substeps}. Give at least 1 physics step per control step.")
        if not 0.0 <= self.wall < 100.0 or self.k_v < 0.0:
            raise JepaflowError("Push-T's wall must be 0..100 px and k_v at least 0. Give numbers in that range.")
        if 6.0 * self.scale + 2.0 * self.agent_radius > self.high - self.low:
            raise JepaflowError(
                f"a T of scale {self.scale:g} px with an agent of radius {self.agent_radius:g} px does not fit "
                "the window. Make one of them smaller."
            )

    @property
    def low(self) -> float:
        """Smallest coordinate inside the walls."""
        return self.wall

    @property
    def high(self) -> float:
        """Largest coordinate inside the walls: 504 px, since upstream's walls lie one px nearer to that side."""
        return WINDOW - 1.0 - self.wall

    @property
    def moment(self) -> float:
        """Moment of inertia of the unit mass T: upstream's, twice the top bar's about the reference point."""
        return 2.0 * ((4.0**2 + 1.0) / 12.0 + 0.5**2) * self.scale**2


Pose = tuple[float, float, float]
"""The block's x, y (reference point) and angle."""


def rotation(angle: float) -> Float[np.ndarray, "2 2"]:
    """Return the matrix that turns a vector of the block's frame into the window's."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])


def to_window(pose: Pose, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Return points of the block's frame (px) in the window."""
    moved: Float[np.ndarray, "n 2"] = points @ rotation(pose[2]).T + np.array(pose[:2])
    return moved


def to_block(pose: Pose, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Return points of the window in the block's frame (px)."""
    moved: Float[np.ndarray, "n 2"] = (points - np.array(pose[:2])) @ rotation(pose[2])
    return moved


def outline(config: PushTConfig, pose: Pose) -> Float[np.ndarray, "8 2"]:
    """Return the T's corners in the window."""
    return to_window(pose, config.scale * np.array(OUTLINE))


def centre(config: PushTConfig, pose: Pose) -> Float[np.ndarray, " 2"]:
    """Return the block's centre of gravity in the window."""
    x, y, angle = pose
    arm = CENTRE_Y * config.scale
    return np.array([x - math.sin(angle) * arm, y + math.cos(angle) * arm])


def distance_to_block(config: PushTConfig, pose: Pose, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """Return each point's signed distance (px) to the T's edge, negative inside.

    Outside it is exact; inside it is at most the true depth in size (the bars are taken one by one).
    """
    local = to_block(pose, points) / config.scale
    nearest = np.full(len(points), np.inf)
    for left, top, right, bottom in BARS:
        middle, half = np.array([left + right, top + bottom]) / 2, np.array([right - left, bottom - top]) / 2
        beyond = np.abs(local - middle) - half
        outside = np.hypot(*np.maximum(beyond, 0.0).T)
        nearest = np.minimum(nearest, outside + np.minimum(beyond.max(1), 0.0))
    return nearest * config.scale


def angle_difference(one: float, other: float) -> float:
    """Return one - other (rad), wrapped to [-pi, pi]."""
    return math.remainder(one - other, 2.0 * math.pi)


@lru_cache(maxsize=8)
def contacts(config: PushTConfig) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]]:
    """Return the places (block's frame, px) at which a disc can press on a face, and the faces' outward normals.

    Places are some 12 px apart and stay clear of outer corners (the disc would slip off) and of the inner ones (it
    would touch both bars).
    """
    places, normals = [], []
    for i, (x0, y0) in enumerate(OUTLINE):
        x1, y1 = OUTLINE[(i + 1) % len(OUTLINE)]
        length = math.hypot(x1 - x0, y1 - y0) * config.scale
        along = np.array([x1 - x0, y1 - y0]) * config.scale / length
        margins = [
            config.agent_radius + 3.0 if corner % len(OUTLINE) in INNER_CORNERS else 4.0 for corner in (i, i + 1)
        ]
        room = length - sum(margins)
        if room <= 0.0:
            continue
        for t in margins[0] + np.linspace(0.0, room, max(2, round(room / 12.0) + 1)):
            places.append(config.scale * np.array([x0, y0]) + t * along)
            normals.append((along[1], -along[0]))  # the corners go round with the inside on their right
    return np.array(places), np.array(normals)
