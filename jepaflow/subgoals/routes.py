"""Are the plans different? Route classes: which rooms a walk passes, in order, with loops cut out.

Two walks through the same rooms in the same order are one route, however they wiggle. Rooms come from a labelling of the
nodes; going somewhere and coming back is no new route, so a room that is met again cuts the loop.

Legend: W walks, N nodes.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from jepaflow.subgoals.walks import Walks


def route_of(labels: Sequence[int]) -> tuple[int, ...]:
    """Distinct labels in order, loops cut out."""
    route: list[int] = []
    for label in labels:
        if label in route:
            del route[route.index(label) + 1 :]
        else:
            route.append(int(label))
    return tuple(route)


def routes(walks: Walks, label: Int[ndarray, " N"]) -> list[tuple[int, ...]]:
    """Route class of each walk; () for an empty row."""
    return [route_of(label[row[row >= 0]].tolist()) for row in walks.nodes]


def entropy(classes: Sequence[tuple[int, ...]]) -> float:
    """Entropy of the empirical distribution over classes, in nats."""
    share = np.array(list(Counter(classes).values()), float) / max(1, len(classes))
    return float(-(share * np.log(share)).sum())
