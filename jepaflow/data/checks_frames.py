"""Checks of pictures: undecodable, black or frozen frames, cameras that show the same, pictures that lag the rows.

Frames are decoded once, forward, and shrunk to thumbnails of 32 pixels. A thumbnail is compared with the one before and
forgotten: four numbers per frame are kept, so an episode of any length fits in memory.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.data.findings import Collector
from jepaflow.data.resize import ImageRule
from jepaflow.data.types import Camera, Dataset, Episode, compact

_THUMBNAIL = ImageRule(32, "squash")
_BLACK = 12.0  # mean grey level; limited-range video black decodes to about 0
_FROZEN = 0.05  # mean change per pixel in grey levels: camera noise alone is several times larger
_FROZEN_PEAK = 4.0  # largest change of a pixel that re-encoding an unchanged picture may make
_SHARED_FRAMES = 20  # thumbnails per episode kept to compare cameras


class FrameChecks:
    """Feed every episode to :meth:`add` (with its rows, if any), then call :meth:`finish`."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._differences: dict[tuple[str, str], list[float]] = {}
        self._frozen: dict[str, list[int]] = {}
        self._motion_lag = np.zeros(2 * self._lag_range + 1)
        self._motion_episodes = 0

    @property
    def _lag_range(self) -> int:
        return max(5, round(2 * self.dataset.fps))

    def add(self, episode: Episode, rows: Mapping[str, np.ndarray] | None, found: Collector) -> None:
        """Decode and check one episode."""
        speed = self._speed(rows)
        samples: dict[str, list[np.ndarray]] = {}
        for camera in self.dataset.cameras:
            place: dict[str, Any] = {"file": _file(self.dataset, episode, camera), "episode": episode.index}
            place["subject"] = camera.key
            try:
                sentence = self.dataset.check_frames(episode, camera)
                if sentence:
                    fix = "jepaflow pairs by nearest time then; restore the video or drop the episode."
                    found.add("error", "frame-count", f"There are {sentence}.", fix, **place)
                strip = self._decode(episode, camera)
            except JepaflowError as error:
                code = "images-missing" if camera.kind == "image" else "video-unreadable"
                found.add("error", code, str(error), "Restore the file or drop the episode.", **place)
                continue
            if strip.bad:
                sentence = f"{len(strip.bad)} {camera.name} frames cannot be decoded: {compact(strip.bad)}."
                fix = "Restore the file, or convert with --on-damage drop (or keep)."
                severity = len(strip.bad)
                found.add("error", "decode-error", sentence, fix, frame=strip.bad[0], severity=severity, **place)
            if len(strip) == 0:
                continue
            samples[camera.key] = strip.samples
            self._check_black(camera, strip, place, found)
            self._check_frozen(camera, strip, speed, place, found)
            if speed is not None and len(speed) == len(strip) and not strip.bad:
                self._add_motion(strip, speed)
        keys = sorted(samples)
        for number, one in enumerate(keys):
            for other in keys[number + 1 :]:
                pairs = list(zip(samples[one], samples[other]))
                difference = float(np.mean([np.abs(first - second).mean() for first, second in pairs]))
                self._differences.setdefault((one, other), []).append(difference)

    def _decode(self, episode: Episode, camera: Camera) -> "_Strip":
        strip = _Strip(episode.length)
        for frame in self.dataset.frames_or_none(episode, camera, _THUMBNAIL):
            strip.add(frame)
        return strip

    def _speed(self, rows: Mapping[str, np.ndarray] | None) -> np.ndarray | None:
        """How much the state changes into each row, relative to its range, shape (T,); None without a state."""
        key = self.dataset.role("proprio")
        if rows is None or key is None or key not in rows:
            return None
        state = rows[key].reshape(len(rows[key]), -1).astype(np.float64)
        if not np.isfinite(state).all():
            return None
        spread = np.ptp(state, axis=0)
        change = np.abs(np.diff(state, axis=0, prepend=state[:1])) / np.maximum(spread, 1e-9)
        return np.asarray(np.where(spread > 1e-9, change, 0).max(axis=1))

    def _check_black(self, camera: Camera, strip: "_Strip", place: dict[str, Any], found: Collector) -> None:
        black = np.flatnonzero((np.array(strip.mean) < _BLACK) & (np.array(strip.std) < _BLACK / 2))
        if not len(black):
            return
        count, total = len(black), len(strip)
        if count == total:
            sentence, level = f"All {total} {camera.name} frames are black.", "error"
        else:
            sentence, level = (
                f"{count} of {total} {camera.name} frames are black: {compact(black.tolist())}.",
                "warning",
            )
        fix = "Drop the episode: the camera gave no picture."
        found.add(level, "black-frames", sentence, fix, frame=int(black[0]), severity=count, **place)

    def _check_frozen(
        self, camera: Camera, strip: "_Strip", speed: np.ndarray | None, place: dict[str, Any], found: Collector
    ) -> None:
        if len(strip) < 3:
            return
        # The largest change counts too: a small object moving over a plain background hardly moves the mean.
        still = (np.array(strip.change) < _FROZEN) & (np.array(strip.peak) < _FROZEN_PEAK)
        if speed is not None and len(speed) == len(strip):
            # A picture may stand still when the robot does; frozen is one that stands still while the robot moves.
            still &= speed[1:] > 0.002
        share, run, start = float(still.mean()), *_longest_run(still)
        if run >= max(5, 0.5 * self.dataset.fps) or share > 0.3:
            moving = " while the state changes" if speed is not None else ""
            sentence = (
                f"The {camera.name} picture is frozen{moving}: {100 * share:.0f} % of frames repeat the one before, "
                f"the longest run is {run} frames from frame {start}."
            )
            fix = "The camera or its driver stalled; drop the episode if the run is long."
            found.add("warning", "frozen-frames", sentence, fix, frame=start, severity=run, **place)

    def _add_motion(self, strip: "_Strip", speed: np.ndarray) -> None:
        energy = np.array(strip.change)
        reach = self._lag_range
        if len(energy) < 4 * reach or energy.std() < 0.05 or speed[1:].std() < 1e-6:
            return
        one, other = speed[1:] - speed[1:].mean(), energy - energy.mean()
        scale = np.sqrt((one**2).sum() * (other**2).sum())
        for number, lag in enumerate(range(-reach, reach + 1)):
            first, last = max(0, -lag), len(one) - max(0, lag)
            self._motion_lag[number] += float((one[first:last] * other[first + lag : last + lag]).sum() / scale)
        self._motion_episodes += 1

    def finish(self, found: Collector) -> None:
        """Say what the cameras show over the whole dataset."""
        for (one, other), differences in self._differences.items():
            if np.mean(differences) < 1.0:
                level = float(np.mean(differences))
                sentence = f"{one} and {other} show the same pictures (mean difference {level:.2f} grey levels)."
                fix = "One camera was recorded under two keys; keep one (--cameras)."
                found.add("warning", "duplicate-camera", sentence, fix, subject=f"{one} {other}")
        if self._motion_episodes:
            curve = self._motion_lag / self._motion_episodes
            best = int(np.argmax(curve))
            lag, value, now = best - self._lag_range, float(curve[best]), float(curve[self._lag_range])
            if value > 0.4 and value > now + 0.15 and abs(lag) > max(2, 0.3 * self.dataset.fps):
                late = "later" if lag > 0 else "earlier"
                sentence = (
                    f"Pictures move {abs(lag)} frames ({abs(lag) / self.dataset.fps:.2f} s) {late} than the state "
                    f"(correlation {value:.2f} there, {now:.2f} as paired)."
                )
                fix = "Frames and rows are shifted against each other: record again or shift them back."
                found.add("warning", "misaligned", sentence, fix)


class _Strip:
    """What is kept of one camera's thumbnails in one episode of about ``length`` frames."""

    def __init__(self, length: int) -> None:
        self.mean, self.std = list[float](), list[float]()  # grey levels of every frame
        self.change, self.peak = list[float](), list[float]()  # into every frame but the first: mean and largest
        self.samples: list[np.ndarray] = []  # of about _SHARED_FRAMES moments, the same ones for every camera
        self.bad: list[int] = []
        self._last: np.ndarray | None = None
        self._wanted = set(np.linspace(0, max(length, 1) - 1, _SHARED_FRAMES).astype(int).tolist())

    def __len__(self) -> int:
        return len(self.mean)

    def add(self, frame: np.ndarray | None) -> None:
        """Take in the next thumbnail ``(32, 32, 3)``; one that cannot be decoded counts as the one before."""
        last = self._last
        if frame is None:
            self.bad.append(len(self))
            now = np.zeros((32, 32, 3), np.float32) if last is None else last
        else:
            now = frame.astype(np.float32)
        if last is not None:
            difference = np.abs(now - last)
            self.change.append(float(difference.mean()))
            self.peak.append(float(difference.max()))
        if len(self) in self._wanted:
            self.samples.append(now)
        self.mean.append(float(now.mean()))
        self.std.append(float(now.std()))
        self._last = now


def _longest_run(mask: np.ndarray) -> tuple[int, int]:
    """Length and first position of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    if len(edges) == 0:
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    best = int(np.argmax(lengths))
    return int(lengths[best]), int(edges[::2][best])


def _file(dataset: Dataset, episode: Episode, camera: Camera) -> str | None:
    slot = episode.slots.get(camera.key)
    path = slot.path if slot is not None else episode.data
    if path is None:
        return None
    return str(path.relative_to(dataset.root)) if path.is_relative_to(dataset.root) else str(path)
