"""The shortest way round walls: what an expert walks, and the truth that learned reachability is judged by.

A visibility graph over the walls' corners, grown by the disc's radius. Segments are tested against walls grown by
radius/√2 only, which no free centre can lie in (a rounded corner leaves that much), so every free point sees something;
what this leaves out the disc makes good by sliding. Distances are right within some two px a corner.

Legend: n points, C corners, W walls. Units as in `disc`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse.csgraph import floyd_warshall

from jepaflow.sims.disc import Arena, Point, Rect, penetration

MARGIN = 1.5
"""px that a corner is passed by."""
PASSED = 2.0
"""px within which a corner counts as passed."""
CHUNK = 256


class Geodesic:
    """Shortest ways in one arrangement of walls.

    Args:
        arena: the world.
        solid: what is solid now beside its walls, e.g. shut doors.
    """

    def __init__(self, arena: Arena, solid: tuple[Rect, ...] = ()) -> None:
        self.arena = arena
        walls = (*arena.walls(), *solid)
        grow = arena.radius / np.sqrt(2.0) - 1e-6
        self._boxes = np.array(walls, dtype=float).reshape(-1, 4) + grow * np.array([-1.0, -1.0, 1.0, 1.0])
        far = arena.radius + MARGIN
        corners = {(x, y) for w in walls for x in (w[0] - far, w[2] + far) for y in (w[1] - far, w[3] + far)}
        free = [corner for corner in sorted(corners) if penetration(arena, corner, solid) == 0.0]
        self.corners: Float[np.ndarray, "C 2"] = np.array(free, dtype=float).reshape(-1, 2)
        seen = self._seen(self.corners, self.corners)
        self._between: Float[np.ndarray, "C C"] = floyd_warshall(np.where(np.isfinite(seen), seen, 0.0))

    def distance(self, a: Float[np.ndarray, "n 2"], b: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
        """Return the length (px) of the shortest way between points, inf where there is none."""
        found = np.empty(len(a))
        for begin in range(0, len(a), CHUNK):
            part = slice(begin, begin + CHUNK)
            one, other = np.asarray(a[part], dtype=float), np.asarray(b[part], dtype=float)
            straight = np.hypot(*(one - other).T)
            found[part] = np.where(self._clear(one, other), straight, np.inf)
            if len(self.corners):
                first, last = self._seen(one, self.corners), self._seen(other, self.corners)
                ahead = (first[:, :, None] + self._between[None]).min(1)
                found[part] = np.minimum(found[part], (ahead + last).min(1))
        return found

    def towards(self, target: Point) -> Float[np.ndarray, " C"]:
        """Return each corner's way to a target, for `next_point`."""
        last = self._seen(np.array([target], dtype=float), self.corners)[0]
        return np.asarray((self._between + last[None]).min(1)) if len(self.corners) else np.empty(0)

    def next_point(self, here: Point, target: Point, ahead: Float[np.ndarray, " C"]) -> Point:
        """Return the point to walk straight to: the target where it is seen, else the next corner on the shortest way.

        Args:
            here: where the disc is.
            target: where it will.
            ahead: `towards(target)`.
        """
        start = np.array([here], dtype=float)
        if not len(self.corners) or self._clear(start, np.array([target], dtype=float))[0]:
            return target
        step = self._seen(start, self.corners)[0]
        way = np.where(step < PASSED, np.inf, step) + ahead
        best = int(np.argmin(way))
        if not np.isfinite(way[best]):
            return target
        return float(self.corners[best, 0]), float(self.corners[best, 1])

    def _seen(self, a: Float[np.ndarray, "n 2"], b: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "n m"]:
        """Return distances along straight lines, inf where a wall is in between."""
        one = np.repeat(a, len(b), 0)
        other = np.tile(b, (len(a), 1))
        gap = np.hypot(*(one - other).T)
        return np.asarray(np.where(self._clear(one, other), gap, np.inf).reshape(len(a), len(b)))

    def _clear(self, a: Float[np.ndarray, "n 2"], b: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        """Return whether the segments miss every wall (slab method)."""
        move = b - a
        safe = np.where(np.abs(move) < 1e-12, 1e-12, move)
        with np.errstate(over="ignore"):
            low = (self._boxes[None, :, :2] - a[:, None]) / safe[:, None]
            high = (self._boxes[None, :, 2:] - a[:, None]) / safe[:, None]
        enter = np.minimum(low, high).max(-1)
        leave = np.maximum(low, high).min(-1)
        hit = (enter < leave) & (leave > 0.0) & (enter < 1.0)
        return np.asarray(~hit.any(1))
