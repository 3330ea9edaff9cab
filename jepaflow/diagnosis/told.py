"""Where things are, as the store tells it: the reference that latents are compared with.

Simulated worlds name their state. A *thing* is a name with ``_x`` and ``_y`` (``tcp``, ``cube0``, ``agent``, ``block``): its place is
what a picture shows. Left out are things that a picture does not show or that are scenery (goals, lights, cameras). A
Reacher tells angles: ``shoulder`` and ``wrist`` become points on the unit circle, so that a full turn is no distance. A real
robot tells its joints alone: they are scaled to unit variance, since degrees and a gripper's percent share no unit; where the
object is, nobody knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from jepaflow.data.store import Store

UNSEEN = ("target", "light")
"""things in a state whose place a frame does not show"""
ANGLES = ("shoulder", "wrist")
"""a Reacher's state"""
CENTIMETRES = 100.0


@dataclass(frozen=True)
class Told:
    """Numbers per frame.

    Attributes:
        things: name to coordinates ``[n, q]``, all in ``unit``.
        unit: of distances: ``cm``, ``px``, ``rad``, ``SD`` (standard deviations of a joint).
        words: what the distances are between, for people.
        shown: one or two single coordinates for colouring: label to values ``[n]``.
    """

    things: dict[str, Float[ndarray, "n q"]]
    unit: str
    words: str
    shown: dict[str, Float[ndarray, " n"]] = field(default_factory=dict)

    @property
    def together(self) -> Float[ndarray, "n Q"]:
        """Coordinates of all things side by side."""
        return np.concatenate(list(self.things.values()), 1)

    def parts(self) -> dict[str, Float[ndarray, "n q"]]:
        """All things together under the name "", then each where there are several."""
        return {"": self.together, **(self.things if len(self.things) > 1 else {})}


def read_told(store: Store, rows: Int[ndarray, " n"]) -> Told | None:
    """Read what the store tells at some rows; None for a store without a state or proprioception."""
    names = _names(store, "state")
    if things := _things(names):
        state = _read(store, "state", rows)
        metres = str(store.meta["features"]["state"].get("unit", "")).startswith("SI")
        scale, unit = (CENTIMETRES, "cm") if metres else (1.0, "px")
        found = {thing: scale * state[:, columns] for thing, columns in things.items()}
        last = next(reversed(found))  # the object; what moves it comes first
        shown = {f"{last} {axis}, {unit}": found[last][:, i] for i, axis in enumerate("xy")}
        return Told(found, unit, f"places of {' and '.join(found)}", shown)
    if set(ANGLES) <= set(names):
        angles = _read(store, "state", rows)[:, [names.index(a) for a in ANGLES]]
        points = {a: np.stack([np.cos(v), np.sin(v)], 1) for a, v in zip(ANGLES, angles.T)}
        return Told(points, "rad", "directions of both links", {f"{ANGLES[0]}, rad": angles[:, 0]})
    column = next((c for c in ("proprio", "state") if c in store.columns), None)
    if column is None:
        return None
    joints = _read(store, column, rows)
    spread = joints.std(0)
    names = _names(store, column) or [f"joint {i}" for i in range(joints.shape[1])]
    # The widest between its deciles: a joint that jumps once in a while would colour all frames but a few alike.
    widest = np.argsort(-np.ptp(np.percentile(joints, [10, 90], axis=0), axis=0), kind="stable")[:2]
    moving = spread > 1e-9
    scaled = (joints - joints.mean(0))[:, moving] / spread[moving]
    if not moving.any():
        return None
    return Told({"joints": scaled}, "SD", "joints", {names[i]: joints[:, i] for i in widest})


def _read(store: Store, column: str, rows: ndarray) -> Float[ndarray, "n q"]:
    return np.asarray(store.read(column, rows), np.float64)


def _names(store: Store, column: str) -> list[str]:
    """Names of a column's numbers; empty where the store has none or they do not fit."""
    names = list(store.meta.get("features", {}).get(column, {}).get("names") or [])
    return names if column in store.columns and len(names) == store.dim(column) else []


def _things(names: Sequence[str]) -> dict[str, list[int]]:
    """Columns of each thing's x, y and, where there is one, z."""
    found = {}
    for thing in [name[:-2] for name in names if name.endswith("_x")]:
        if thing not in UNSEEN and not thing.endswith("_shift") and f"{thing}_y" in names:
            found[thing] = [names.index(f"{thing}_{axis}") for axis in "xyz" if f"{thing}_{axis}" in names]
    return found
