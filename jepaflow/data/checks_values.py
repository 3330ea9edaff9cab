"""Checks of values over the whole dataset: constant, doubled, mixed in unit, lagging behind one another.

Everything is accumulated episode by episode in a few numbers per dimension, so memory does not grow with the dataset.
"""

from collections import defaultdict

import numpy as np

from jepaflow.data.findings import Collector
from jepaflow.data.types import Dataset, Episode

Rows = dict[str, np.ndarray]
_DEFAULT = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_DEGREES = 180 / np.pi
NAMED = 6
"""Constant dimensions that are named; of more, the number is told."""
_MAX_LAG = 15  # frames, either way


class ValueChecks:
    """Feed every episode's rows to :meth:`add`, then call :meth:`finish`."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.action, self.proprio = dataset.role("action"), dataset.role("proprio")
        self.environment = dataset.role("environment")
        self._scale: dict[str, list[np.ndarray]] = defaultdict(list)  # largest magnitude, per episode
        self._low: dict[str, np.ndarray] = {}
        self._high: dict[str, np.ndarray] = {}
        self._still: dict[str, int] = defaultdict(int)  # episodes in which some dimension is constant
        self._equal: dict[tuple[str, str], bool] = {}
        self._equal_dims: dict[str, np.ndarray] = {}
        self._next_state = True
        self._lag = _LagMeter()
        self._velocity = _LagMeter()
        self._episodes: list[int] = []
        self._minus_one: dict[tuple[str, int], tuple[int, int, int]] = {}

    def add(self, episode: Episode, rows: Rows) -> None:
        """Take in one episode."""
        self._episodes.append(episode.index)
        numeric = {
            key: values.reshape(len(values), -1).astype(np.float64)
            for key, values in rows.items()
            if key not in _DEFAULT and not key.startswith("next.") and values.dtype.kind == "f"
        }
        finite = {key: np.where(np.isfinite(values), values, 0) for key, values in numeric.items()}
        for key, values in finite.items():
            self._scale[key].append(np.abs(values).max(0))
            if key in self._low and self._low[key].shape != values.shape[1:]:
                continue  # reported as a shape mismatch
            self._low[key] = np.minimum(self._low.get(key, np.inf), values.min(0))
            self._high[key] = np.maximum(self._high.get(key, -np.inf), values.max(0))
            self._still[key] += bool((np.ptp(values, axis=0) < 1e-9).any())
            self._compare_dimensions(key, values)
            self._find_unread(episode, key, values)
        keys = sorted(finite)
        for number, one in enumerate(keys):
            for other in keys[number + 1 :]:
                same = np.array_equal(finite[one], finite[other])
                self._equal[one, other] = self._equal.get((one, other), True) and same
        if self.action in finite and self.proprio in finite:
            self._relate(finite[str(self.action)], finite[str(self.proprio)])

    def _compare_dimensions(self, key: str, values: np.ndarray) -> None:
        width = values.shape[1]
        if width > 64:
            return
        same = (values[:, :, None] == values[:, None, :]).all(axis=0)
        self._equal_dims[key] = self._equal_dims.get(key, np.ones((width, width), dtype=bool)) & same

    def _find_unread(self, episode: Episode, key: str, values: np.ndarray) -> None:
        """A servo that was not read is often stored as exactly -1, far from the values around it."""
        for dimension in range(values.shape[1]):
            column = values[:, dimension]
            marked = column == -1.0
            rest = column[~marked]
            if marked.any() and len(rest) > len(column) // 2:
                distance = np.abs(rest + 1.0).min()
                if distance > max(0.25 * np.ptp(rest), 1e-3):
                    count, _, _ = self._minus_one.get((key, dimension), (0, 0, 0))
                    place = (count + int(marked.sum()), episode.index, int(np.argmax(marked)))
                    self._minus_one[key, dimension] = place

    def _relate(self, action: np.ndarray, state: np.ndarray) -> None:
        width = min(action.shape[1], state.shape[1])
        action, state = action[:, :width], state[:, :width]
        self._next_state = self._next_state and np.array_equal(action[:-1], state[1:])
        self._lag.add(np.diff(action, axis=0), np.diff(state, axis=0))
        self._velocity.add(action[:-1], np.diff(state, axis=0))

    def finish(self, found: Collector) -> None:
        """Say what the whole dataset shows."""
        for key, low in self._low.items():
            self._report_feature(key, low, found)
        for (one, other), same in self._equal.items():
            if same:
                sentence = f"{one} and {other} are equal in every row."
                found.add("warning", "duplicate-feature", sentence, "Use one of them.", subject=f"{one} {other}")
        for (key, dimension), (count, episode, frame) in self._minus_one.items():
            sentence = f"{self._name(key, dimension)} is exactly -1 in {count} rows, far from its other values."
            fix = "A servo was probably not read there; drop those episodes."
            found.add(
                "warning", "unread-servo", sentence, fix, episode=episode, frame=frame, subject=f"{key}{dimension}"
            )
        self._report_units(found)
        self._report_lag(found)

    def _report_feature(self, key: str, low: np.ndarray, found: Collector) -> None:
        constant = np.flatnonzero(self._high[key] - low < 1e-9)
        if key == self.environment:
            return  # a simulator's state is kept to restore it, not to learn from: most of it may well stand still
        if len(constant):
            names = ", ".join(self._name(key, dimension) for dimension in constant[:NAMED].tolist())
            names += f" and {len(constant) - NAMED} more" if len(constant) > NAMED else ""
            fix = "It carries nothing; normalising by its spread would divide by zero (jepaflow guards this)."
            found.add("warning", "constant", f"{names} never changes.", fix, subject=key)
        elif self._still[key]:
            sentence = f"Some value of {key} is constant within {self._still[key]} of {len(self._episodes)} episodes."
            found.add("note", "constant-in-episode", sentence, "Scale over all episodes, not per episode.", subject=key)
        pairs = np.argwhere(np.triu(self._equal_dims.get(key, np.zeros((1, 1), bool)), 1))
        moving = [(one, other) for one, other in pairs.tolist() if one not in constant and other not in constant]
        if moving:
            names = "; ".join(f"{self._name(key, one)} = {self._name(key, other)}" for one, other in moving[:5])
            fix = "Check the wiring of the recorder: one of them is probably a copy."
            found.add("warning", "duplicate-dimension", f"Equal in every row: {names}.", fix, subject=key)

    def _report_units(self, found: Collector) -> None:
        for key, scales in self._scale.items():
            if len({scale.shape for scale in scales}) > 1 or len(scales) < 2:
                continue
            scale = np.stack(scales)  # (episodes, dimensions)
            typical = np.median(scale, axis=0)
            moving = typical > 1e-6
            if not moving.any():
                continue
            ratio = np.median(np.maximum(scale[:, moving], 1e-9) / typical[moving], axis=1)
            odd = np.flatnonzero((ratio > 10) | (ratio < 0.1))
            if len(odd):
                worst = int(odd[np.argmax(np.abs(np.log(ratio[odd])))])
                factor = max(ratio[worst], 1 / ratio[worst])
                hint = " (180/pi: degrees among radians?)" if abs(factor / _DEGREES - 1) < 0.5 else ""
                size = "larger" if ratio[worst] > 1 else "smaller"
                sentence = f"{key} is {factor:.1f} times {size} than in most episodes{hint}."
                for number in odd:
                    found.add(
                        "warning", "mixed-units", sentence, "Bring all episodes to one unit.",
                        episode=self._episodes[number], subject=key, severity=float(number == worst),
                    )  # fmt: skip
        if self.action in self._high and self.proprio in self._high:
            one = np.maximum(self._high[str(self.action)], -self._low[str(self.action)])
            other = np.maximum(self._high[str(self.proprio)], -self._low[str(self.proprio)])
            width = min(len(one), len(other))
            moving = (one[:width] > 1e-3) & (other[:width] > 1e-3)
            # Only a factor near 180/pi tells: small actions beside large states may well be steps or velocities.
            factor = float(np.median(one[:width][moving] / other[:width][moving])) if moving.any() else 1.0
            if 0.7 < max(factor, 1 / factor) / _DEGREES < 1.4:
                sentence = (
                    f"{self.action} is {factor:.3g} times the size of {self.proprio}, about 180/pi or its inverse."
                )
                found.add("warning", "mixed-units", sentence, "Check degrees against radians.", subject="roles")

    def _report_lag(self, found: Collector) -> None:
        if self._next_state and self.action in self._low and self.proprio in self._low and self._episodes:
            sentence = f"{self.action} at t is {self.proprio} at t + 1 (hand-guided, or derived from the states)."
            found.add("note", "action-is-next-state", sentence, "The action foretells the next state exactly.")
            return
        candidates = [(*self._lag.peak(), "change of target"), (*self._velocity.peak(), "velocity")]
        value, lag, kind = max(candidates, key=lambda candidate: candidate[0])
        if value < 0.2:
            return
        delay = f"{lag} frames ({lag / self.dataset.fps:.2f} s)"
        sentence = f"The state follows the action (as {kind}) by {delay}, correlation {value:.2f}."
        if lag == -1 and kind == "velocity":
            sentence = f"The action is the state's change into its own row (measured, not commanded; {value:.2f})."
            found.add("note", "lag", sentence, "A block of actions tells what happened, one frame late.")
        elif lag < -1:
            sentence = f"The state runs ahead of the action (as {kind}) by {-lag} frames, correlation {value:.2f}."
            found.add("warning", "lag", sentence, "Actions are shifted against states: check the recorder.")
        elif lag > 10:
            found.add("warning", "lag", sentence, "Check the recorder, or use blocks of actions longer than this.")
        else:
            found.add("note", "lag", sentence, "Choose blocks of actions that are not shorter than this.")

    def _name(self, key: str, dimension: int) -> str:
        names = self.dataset.features[key].names if key in self.dataset.features else ()
        return f"{key} ({names[dimension]})" if dimension < len(names) else f"{key} [{dimension}]"


class _LagMeter:
    """Mean correlation over dimensions between a cause and an effect shifted by -15..15 frames."""

    def __init__(self) -> None:
        self._sum, self._norm = np.zeros(2 * _MAX_LAG + 1), 0.0

    def add(self, cause: np.ndarray, effect: np.ndarray) -> None:
        """Take in one episode: arrays ``(T, d)``."""
        if len(cause) < 3 * _MAX_LAG:
            return
        one, other = cause - cause.mean(0), effect - effect.mean(0)
        norms = np.sqrt((one**2).sum(0) * (other**2).sum(0))
        live = norms > 1e-9
        if not live.any():
            return
        one, other = (
            one[:, live] / np.sqrt((one[:, live] ** 2).sum(0)),
            other[:, live] / np.sqrt((other[:, live] ** 2).sum(0)),
        )
        for number, lag in enumerate(range(-_MAX_LAG, _MAX_LAG + 1)):
            first, last = max(0, -lag), len(one) - max(0, lag)
            self._sum[number] += float((one[first:last] * other[first + lag : last + lag]).sum(0).mean())
        self._norm += 1

    def peak(self) -> tuple[float, int]:
        """Largest mean correlation and the lag (frames) at which it lies; 0, 0 when nothing moved."""
        if self._norm == 0:
            return 0.0, 0
        best = int(np.argmax(self._sum))
        if self._sum[_MAX_LAG] > 0.98 * self._sum[best]:  # a tie is no lag
            best = _MAX_LAG
        return float(self._sum[best] / self._norm), best - _MAX_LAG
