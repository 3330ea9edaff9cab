"""A closer look at the latents of a run, in one call: geometry and horizon, with their pictures, captions and rows.

The report asks for nothing else, and what could not be measured is said in a sentence and not left out in silence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.data.store import Store
from jepaflow.diagnosis import captions
from jepaflow.diagnosis.drift import Drift, measure_drift
from jepaflow.diagnosis.figures_geometry import draw_isometry, draw_neighbours, draw_normality_time, draw_panels
from jepaflow.diagnosis.figures_horizon import draw_drift, draw_horizon
from jepaflow.diagnosis.frames import gather_frames
from jepaflow.diagnosis.horizon import FAR, Horizon, measure_horizon
from jepaflow.diagnosis.isometry import Isometry, measure_isometry
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.diagnosis.neighbours import Neighbours, find_neighbours
from jepaflow.diagnosis.normality_time import NormalityOverTime, normality_over_time
from jepaflow.diagnosis.panels import Panels, make_panels
from jepaflow.diagnosis.resample import Estimate
from jepaflow.training.checkpoint import Run
from jepaflow.training.decoding import load_decoder

TITLES = {
    "normality_time": "Normal at every time?",
    "isometry": "Do latent distances follow the world's?",
    "panels": "Maps of the latents",
    "neighbours": "What the model holds for alike",
    "horizon": "How far imagination carries",
    "drift": "How imagined pictures drift",
}


@dataclass(frozen=True)
class CloseUp:
    """All parts; None where one does not exist, and ``missing`` says why."""

    normality_time: NormalityOverTime
    isometry: Isometry | None
    panels: Panels
    neighbours: Neighbours | None
    horizon: Horizon | None
    drift: Drift | None
    step_seconds: float
    missing: tuple[str, ...]

    def pictures(self) -> dict[str, bytes]:
        """Name to PNG, in the order of the report."""
        found = {"normality_time": draw_normality_time(self.normality_time)}
        if self.isometry is not None:
            found["isometry"] = draw_isometry(self.isometry)
        found["panels"] = draw_panels(self.panels)
        if self.neighbours is not None:
            found["neighbours"] = draw_neighbours(self.neighbours)
        if self.horizon is not None:
            found["horizon"] = draw_horizon(self.horizon, self.step_seconds)
        if self.drift is not None:
            found["drift"] = draw_drift(self.drift)
        return found

    def captions(self) -> dict[str, str]:
        """What each picture shows, in plain sentences with the figures."""
        found = {"normality_time": captions.normality_time(self.normality_time)}
        if self.isometry is not None:
            found["isometry"] = captions.isometry(self.isometry)
        found["panels"] = captions.panels(self.panels)
        if self.neighbours is not None:
            found["neighbours"] = captions.neighbours(self.neighbours)
        if self.horizon is not None:
            found["horizon"] = captions.horizon(self.horizon, self.step_seconds)
        if self.drift is not None:
            found["drift"] = captions.drift(self.drift)
        return found

    def titles(self) -> dict[str, str]:
        """A heading for each picture."""
        return {name: TITLES[name] for name in self.captions()}

    def rows(self, name: str) -> list[Row]:
        """Every figure as a row."""
        parts = (self.normality_time, self.isometry, self.neighbours, self.horizon, self.drift)
        return [row for part in parts if part is not None for row in part.rows(name)]

    def as_dict(self) -> dict[str, Any]:
        """Every figure, ready for JSON; arrays of points and pictures are left out."""
        normality = self.normality_time
        return {
            "normality_by_time": {
                "total": _plain(normality.total),
                "share": _plain(normality.share.tolist()),
                "n": normality.n,
                "frames_an_episode": normality.per_episode,
            },
            "isometry": _plain(self.isometry.of) if self.isometry else None,
            "neighbours": _plain(self.neighbours.distances) if self.neighbours else None,
            "horizon": {**_plain(self.horizon), "beats_mean_until": self.horizon.beats_mean_until}
            if self.horizon
            else None,
            "drift": _plain(self.drift) if self.drift else None,
            "missing": list(self.missing),
        }


def _plain(value: Any) -> Any:
    """JSON's own types; None for what is not finite."""
    if isinstance(value, Estimate):
        return value.as_dict()
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    return value


def take_close_up(
    run: Run, store: Store, trajectories: Sequence[Trajectory], draws: int = 1000, seed: int = 0, horizon: int = FAR
) -> CloseUp:
    """Measure geometry and horizon on held-out episodes that are encoded already.

    Args:
        run: the run; a decoder in its folder is used.
        store: where the episodes lie.
        trajectories: their latents; only the first phase of each episode counts.
        draws: resamples of the episodes, for intervals.
        seed: of all that is random.
        horizon: model steps to imagine, at most.
    """
    config = run.model.config
    frames = gather_frames(trajectories, store, config.cameras, run.model, seed=seed)
    panels = make_panels(frames, seed)
    isometry = measure_isometry(frames, min(draws, 500), seed)
    far = measure_horizon(run.model, trajectories, config.history, horizon, draws=draws, seed=seed)
    missing = [panels.missing] if panels.missing else []
    if isometry is None:
        missing.append("Isometry and neighbours need two held-out episodes and a store that tells a state or joints.")
    drift = None
    try:
        decoder = load_decoder(run.path, run.model.device)
        drift = measure_drift(run.model, decoder, trajectories, store, config.history, horizon, draws, seed)
    except JepaflowError as why:
        missing.append(f"Imagined pictures are not scored. {why}")
    return CloseUp(
        normality_time=normality_over_time(trajectories, seed=seed),
        isometry=isometry,
        panels=panels,
        neighbours=find_neighbours(frames, store, config.cameras, draws, seed),
        horizon=far,
        drift=drift,
        step_seconds=config.block / store.fps,
        missing=tuple(missing),
    )
