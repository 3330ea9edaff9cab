"""One episode as a person wants to see it: pictures per camera, named traces, events and the task, whatever it came from.

Datasets and simulated worlds both become an `EpisodeView`, so the contact sheet, the film and the Rerun recording have
one drawing path. Pictures are asked for and stream through; the traces are small and kept whole.

A state and an action dimension share a panel only when they carry the same name and no different units: a joint's
position beside its commanded velocity on one axis would mislead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepaflow.data.names import role_key
from jepaflow.data.schema import DEFAULT_FEATURES
from jepaflow.data.types import Feature

Pictures = Callable[[str, np.ndarray | None], Iterator[np.ndarray | None]]
"""(camera, ascending frame numbers or None for all) -> uint8 pictures (H, W, 3), None where one cannot be decoded."""

MOST_TEXT = 48
"""Letters of an event's name that are kept."""


@dataclass(frozen=True)
class Trace:
    """What one panel shows: a state dimension, an action dimension, or both under one name; each (T,) float."""

    name: str
    state: np.ndarray | None = None
    action: np.ndarray | None = None
    span: tuple[float, float] | None = None
    """Values that the panel shows in any case, e.g. 0 and 1 of a probability."""


@dataclass(frozen=True)
class Event:
    """Something that begins at a frame."""

    frame: int
    text: str


@dataclass(frozen=True)
class EpisodeView:
    """One episode to look at.

    `units` are those of the state and of the action, "" when nothing tells. `eventful` says that the source has columns
    of events, even if nothing happens in this episode. A frame's time is its number / `fps`.
    """

    source: str
    index: int
    length: int
    fps: float
    task: str
    cameras: tuple[str, ...]
    pictures: Pictures
    traces: tuple[Trace, ...] = ()
    units: tuple[str, str] = ("", "")
    events: tuple[Event, ...] = ()
    eventful: bool = False

    @property
    def seconds(self) -> float:
        """Length of the episode in s."""
        return self.length / self.fps

    def current(self, frame: int) -> Event | None:
        """The last event that began not after `frame`."""
        begun = [event for event in self.events if event.frame <= frame]
        return begun[-1] if begun else None


def find_traces(
    features: Mapping[str, Feature], rows: Mapping[str, np.ndarray]
) -> tuple[tuple[Trace, ...], tuple[str, str]]:
    """Return the panels of an episode's `rows`, states first, and the units of state and action ("" if unknown)."""
    present = [key for key in features if key in rows and rows[key].dtype.kind in "fiub"]
    state_key = role_key("proprio", present) or role_key("environment", present)
    action_key = role_key("action", present)
    units = tuple(
        "" if key is None or features[key].unit == "unknown" else features[key].unit for key in (state_key, action_key)
    )
    states, actions = _columns(features, rows, state_key), _columns(features, rows, action_key)
    apart = "" not in units and units[0] != units[1]
    traces = []
    for name, values in states.items():
        partner = None if apart else actions.pop(name, None)
        traces.append(Trace(name, values, partner))
    return (*traces, *(Trace(name, None, values) for name, values in actions.items())), (units[0], units[1])


def _columns(features: Mapping[str, Feature], rows: Mapping[str, np.ndarray], key: str | None) -> dict[str, np.ndarray]:
    """A feature's dimensions by name, each (T,) float; without names of their own they are numbered."""
    if key is None:
        return {}
    values = rows[key].reshape(len(rows[key]), -1).astype(np.float64)
    names: Sequence[str] = features[key].names
    if len(names) != values.shape[1] or len(set(names)) < len(names):
        names = [f"dim_{number}" for number in range(values.shape[1])]
    return dict(zip(names, values.T, strict=True))


def event_columns(features: Mapping[str, Feature]) -> list[str]:
    """Keys of the features that tell of events: one text, whole number or truth value per row."""
    kinds = ("string", "bool", "int", "uint")
    return [
        key
        for key, feature in features.items()
        if key not in DEFAULT_FEATURES and int(np.prod(feature.shape)) == 1 and feature.dtype.startswith(kinds)
    ]


def find_events(
    columns: Mapping[str, np.ndarray], labels: Mapping[str, Sequence[str]] | None = None
) -> tuple[Event, ...]:
    """Return where the columns (each (T,) or (T, 1)) change to something; `labels` are the words for 0, 1, 2, ...

    Nothing, zero, false and "" are quiet: a column that falls back to them begins no event. A number that is the same
    throughout is a label and no event; one that changes at most rows is a measurement.
    """
    events = []
    for key, column in columns.items():
        values = column.reshape(len(column)).tolist()
        if not values:
            continue
        changes = [t for t in range(1, len(values)) if values[t] != values[t - 1]]
        text = isinstance(values[0], str)
        if len(changes) > len(values) // 2 or (not changes and not text):
            continue
        for t in [0, *changes]:
            if values[t] and values[t] == values[t]:  # a NaN stands for nothing
                word = values[t] if text else _number_word(key, values[t], (labels or {}).get(key, ()))
                events.append(Event(t, " ".join(word.split())[:MOST_TEXT]))
    return tuple(sorted(events, key=lambda event: event.frame))


def event_labels(features: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The words for whole numbers, from the "labels" entries of features in LeRobot's form."""
    found = {key: feature.get("labels") for key, feature in features.items()}
    return {key: [str(word) for word in words] for key, words in found.items() if isinstance(words, list | tuple)}


def _number_word(key: str, value: float | int, labels: Sequence[str]) -> str:
    name = key.rsplit(".", 1)[-1]
    if not isinstance(value, bool) and float(value).is_integer() and 0 < value < len(labels):
        return labels[int(value)].replace("_", " ")
    return name if value is True else f"{name} {value:g}"
