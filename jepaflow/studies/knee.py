"""Where a curve bends: the knee after Kneedle (Satopää et al. 2011), for a handful of points in a given order.

Both axes are brought to 0 … 1 by the extremes of the points; the knee is the point farthest from the chord between the
first and the last one. A curve that leaves its chord by less than a tenth of the unit square is called straight: it has no
knee. Neither end can be one. Unlike Kneedle, the order is that of the parameter that was swept and not of x, so the curve
may turn back.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

STRAIGHT = 0.1


def find_knee(x: Float[ndarray, " n"], y: Float[ndarray, " n"]) -> int | None:
    """Index of the knee; None for fewer than three points, a curve without extent, a closed one, or a straight one.

    Args:
        x, y: the curve, in the order of what was swept. Points that are not finite are passed over.
    """
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(known) < 3:
        return None
    points = np.stack([x[known], y[known]], 1).astype(np.float64)
    extent = np.ptp(points, axis=0)
    if (extent == 0).any():
        return None
    points = (points - points.min(0)) / extent
    chord = points[-1] - points[0]
    length = float(np.hypot(*chord))
    if length == 0:
        return None
    away = points - points[0]
    distance = np.abs(chord[0] * away[:, 1] - chord[1] * away[:, 0]) / length
    best = int(distance.argmax())
    return int(known[best]) if distance[best] >= STRAIGHT else None
