"""Push-T's planner of moves: which push brings the T nearer to a goal, and which way the disc gets there.

Pushing here is quasi-static and frictionless, so a push of length d on a face acts along the face's normal only, and
moves the block as an impulse J would: by J along the normal and J * arm / moment in turn, where J = d / (1 + arm^2 /
moment). That closed form replaces any search in the simulator: every contact times every length is scored at once.

The way to the contact is a shortest path in the visibility graph of the T grown by the disc (six outer corners).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jepaflow.sims.push_t_geometry import (
    CENTRE_Y,
    INNER_CORNERS,
    OUTLINE,
    Pose,
    PushTConfig,
    angle_difference,
    centre,
    contacts,
    distance_to_block,
    outline,
    rotation,
    to_window,
)

LENGTHS = np.array([4.0, 8.0, 14.0, 22.0, 32.0, 45.0, 60.0])
"""Push lengths (px) that are scored."""
GAP = 6.0
"""px between disc and face before a push."""
CLEARANCE = 3.0
"""px that a way keeps between disc and block."""

Points = Float[np.ndarray, "n 2"]


class Push(NamedTuple):
    """A push: the way to the place before the face, and where the push ends (disc centres in the window, px)."""

    way: list[Float[np.ndarray, " 2"]]
    end: Float[np.ndarray, " 2"]


def pose_error(config: PushTConfig, pose: Pose, goal: Pose) -> float:
    """Return how far a pose is from another, in px: centres and the turn, weighed by the radius of gyration."""
    shift = math.dist(centre(config, pose), centre(config, goal))
    return math.hypot(shift, math.sqrt(config.moment) * angle_difference(pose[2], goal[2]))


def score_pushes(config: PushTConfig, pose: Pose, goal: Pose) -> Float[np.ndarray, "n k"]:
    """Return the predicted `pose_error` after each push (contact n, length `LENGTHS`[k])."""
    places, normals = contacts(config)
    arms = places - np.array([0.0, CENTRE_Y * config.scale])
    lever = -(arms[:, 0] * normals[:, 1] - arms[:, 1] * normals[:, 0])  # torque of a unit push along -normal
    impulse = LENGTHS[None] / (1.0 + lever[:, None] ** 2 / config.moment)
    need = (centre(config, goal) - centre(config, pose)) @ rotation(pose[2])  # in the block's frame
    left_x = need[0] + impulse * normals[:, :1]
    left_y = need[1] + impulse * normals[:, 1:]
    left_turn = angle_difference(goal[2], pose[2]) - impulse * lever[:, None] / config.moment
    left_turn = left_turn - 2.0 * math.pi * np.round(left_turn / (2.0 * math.pi))
    error: Float[np.ndarray, "n k"] = np.sqrt(left_x**2 + left_y**2 + config.moment * left_turn**2)
    return error


def predict(config: PushTConfig, pose: Pose, contact: int, length: float) -> Pose:
    """Return where the block is after a push, had it no walls around it."""
    places, normals = contacts(config)
    arm = CENTRE_Y * config.scale
    (x, y), (nx, ny) = places[contact], normals[contact]
    lever = -(x * ny - (y - arm) * nx)
    impulse = length / (1.0 + lever**2 / config.moment)
    middle = centre(config, pose) - impulse * (rotation(pose[2]) @ normals[contact])
    angle = float(pose[2] + impulse * lever / config.moment)
    return float(middle[0] + math.sin(angle) * arm), float(middle[1] - math.cos(angle) * arm), angle


def _presses_a_wall(config: PushTConfig, before: Pose, after: Pose) -> bool:
    """Return whether a corner of the T would end in a wall, deeper than it already is."""
    deep = [
        max(config.low - corners.min(), corners.max() - config.high)
        for corners in (outline(config, before), outline(config, after))
    ]
    return bool(deep[1] > max(1.0, deep[0]))


def make_push(
    config: PushTConfig, pose: Pose, agent: Float[np.ndarray, " 2"], contact: int, length: float
) -> Push | None:
    """Return the push of a contact by `length` px, or None where the disc cannot get in place or a wall is in the way.

    Nothing stops the disc from pressing the T into a wall, where it is hard to get out again.
    """
    places, normals = contacts(config)
    if _presses_a_wall(config, pose, predict(config, pose, contact, length)):
        return None
    outward = rotation(pose[2]) @ normals[contact]
    face = to_window(pose, places[contact][None])[0]
    touch = face + config.agent_radius * outward
    before = touch + GAP * outward
    way = find_way(config, pose, agent, before)
    return None if way is None else Push(way, touch - length * outward)


def _inside(config: PushTConfig, points: Points) -> bool:
    low, high = config.low + config.agent_radius, config.high - config.agent_radius
    return bool(((points >= low) & (points <= high)).all())


def find_way(
    config: PushTConfig, pose: Pose, start: Float[np.ndarray, " 2"], end: Float[np.ndarray, " 2"]
) -> list[Float[np.ndarray, " 2"]] | None:
    """Return the places to pass from `start` to `end` (included) without touching the block, None if walls bar it."""
    if not _inside(config, end[None]):
        return None
    first = _step_clear(config, pose, start)
    nodes = np.concatenate([first[None], end[None], _around(config, pose)])
    keep = config.agent_radius + CLEARANCE
    shares = np.linspace(0.0, 1.0, 24)
    a, b = np.triu_indices(len(nodes), 1)
    samples = nodes[a, None] + shares[None, :, None] * (nodes[b] - nodes[a])[:, None]
    clear = (distance_to_block(config, pose, samples.reshape(-1, 2)).reshape(len(a), -1) >= keep - 1.0).all(1)
    cost = np.full((len(nodes), len(nodes)), np.inf)
    lengths = np.where(clear, np.hypot(*(nodes[a] - nodes[b]).T), np.inf)
    cost[a, b], cost[b, a] = lengths, lengths
    order = _shortest(cost)
    if order is None:
        return None
    way = [nodes[i] for i in order[1:]]
    return way if np.allclose(first, start) else [first, *way]


def _step_clear(config: PushTConfig, pose: Pose, start: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
    """Return the place to back off to when the disc touches the block: the nearest clear one in sixteen directions."""
    keep = config.agent_radius + CLEARANCE
    if distance_to_block(config, pose, start[None])[0] >= keep:
        return start
    angles = np.arange(16) * (math.pi / 8)
    for reach in (6.0, 12.0, 20.0, 30.0, 45.0):
        tries = start + reach * np.stack([np.cos(angles), np.sin(angles)], 1)
        room = distance_to_block(config, pose, tries)
        inside = ((tries >= config.low + config.agent_radius) & (tries <= config.high - config.agent_radius)).all(1)
        room = np.where(inside, room, -np.inf)
        if room.max() >= keep:
            best: Float[np.ndarray, " 2"] = tries[int(room.argmax())]
            return best
    return start


def _around(config: PushTConfig, pose: Pose) -> Points:
    """Return the corners of the grown T that the disc's centre can go round, those inside the walls."""
    corners = []
    grow = config.agent_radius + CLEARANCE + 1.0
    count = len(OUTLINE)
    for i, (x, y) in enumerate(OUTLINE):
        if i in INNER_CORNERS:
            continue
        back, ahead = np.array(OUTLINE[i - 1]), np.array(OUTLINE[(i + 1) % count])
        here = np.array([x, y])
        outward = np.sign(here - back + (here - ahead))  # both edges leave the corner inwards, so this points out
        corners.append(config.scale * here + grow * outward)
    points = to_window(pose, np.array(corners))
    low, high = config.low + config.agent_radius, config.high - config.agent_radius
    free: Points = points[((points >= low) & (points <= high)).all(1)]
    return free


def _shortest(cost: Float[np.ndarray, "n n"]) -> list[int] | None:
    """Return the cheapest order of nodes from 0 to 1 (Dijkstra on a handful of nodes)."""
    count = len(cost)
    best, came, done = np.full(count, np.inf), [-1] * count, np.zeros(count, bool)
    best[0] = 0.0
    for _ in range(count):
        here = int(np.where(done, np.inf, best).argmin())
        if done[here] or not np.isfinite(best[here]):
            return None
        if here == 1:
            order = [1]
            while order[-1] != 0:
                order.append(came[order[-1]])
            return order[::-1]
        done[here] = True
        offer = best[here] + cost[here]
        for j in np.flatnonzero((offer < best) & ~done):
            best[j], came[j] = offer[j], here
    return None
