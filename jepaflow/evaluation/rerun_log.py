"""Episodes as a recording for the Rerun viewer, where the optional package is installed.

Each episode has its own branch (`/episode_3/...`) on the shared timelines `time` (seconds since the episode's begin) and
`frame`, and a tab of its own: cameras above, state and action below. Pictures are logged one by one as JPEG, so the
recording streams to disk.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageColor

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.evaluation.drawing import EVENT
from jepaflow.evaluation.episode_view import EpisodeView

QUALITY = 88
"""Of the JPEG pictures."""


@contextmanager
def open_recording(path: Path) -> Iterator[RerunLog]:
    """Yield a recording to add episodes to; the .rrd file appears when the block ends well.

    Raises:
        JepaflowError: the package is not installed, or the file cannot be written.
    """
    try:
        rerun, blueprint = importlib.import_module("rerun"), importlib.import_module("rerun.blueprint")
    except ImportError as error:
        raise JepaflowError(
            f"writing {path} needs the rerun extra: pip install 'jepaflow[rerun]'. Or make a film with --mp4."
        ) from error
    with atomic_path(path) as temporary:
        stream = rerun.RecordingStream("jepaflow", recording_id=path.stem)
        stream.save(temporary)
        try:
            log = RerunLog(rerun, blueprint, stream)
            yield log
            log.finish()
        finally:
            stream.disconnect()  # writes what is still in memory


class RerunLog:
    """A recording that grows episode by episode; `open_recording` makes one."""

    def __init__(self, rerun: Any, blueprint: Any, stream: Any) -> None:
        self._rr, self._rrb, self._stream = rerun, blueprint, stream
        self._tabs: list[Any] = []

    def finish(self) -> None:
        """Add the layout: a tab per episode."""
        blueprint = self._rrb.Blueprint(self._rrb.Tabs(*self._tabs), collapse_panels=True)
        self._stream.send_blueprint(blueprint, make_active=True, make_default=True)

    def add(self, view: EpisodeView) -> None:
        """Log one episode.

        Raises:
            JepaflowError: its files are broken.
        """
        rr, stream = self._rr, self._stream
        root = f"episode_{view.index}"
        stream.reset_time()
        stream.log(f"{root}/task", rr.TextDocument(f"{view.source}, episode {view.index}: {view.task}"), static=True)
        for camera in view.cameras:
            for number, frame in enumerate(view.pictures(camera, None)):
                if frame is not None:
                    self._at(view, number)
                    stream.log(f"{root}/camera/{camera}", rr.Image(frame).compress(jpeg_quality=QUALITY))
        colour = ImageColor.getrgb(EVENT)
        for event in view.events:
            self._at(view, event.frame)
            stream.log(f"{root}/events", rr.TextLog(event.text, color=colour))
        for role, unit in zip(("state", "action"), view.units, strict=True):
            self._series(view, f"{root}/{role}", role, unit)
        self._tabs.append(self._tab(view, root))

    def _at(self, view: EpisodeView, number: int) -> None:
        self._stream.set_time("frame", sequence=number)
        self._stream.set_time("time", duration=number / view.fps)

    def _series(self, view: EpisodeView, entity: str, role: str, unit: str) -> None:
        """All dimensions of state or action as the lines of one plot."""
        rr = self._rr
        chosen = {trace.name: getattr(trace, role) for trace in view.traces if getattr(trace, role) is not None}
        if not chosen:
            return
        names = [f"{name} ({unit})" if unit else name for name in chosen]
        self._stream.reset_time()
        self._stream.log(entity, rr.SeriesLines(names=names), static=True)
        numbers = np.arange(view.length)
        indexes = [
            rr.TimeColumn("frame", sequence=numbers),
            rr.TimeColumn("time", duration=numbers / view.fps),
        ]
        columns = rr.Scalars.columns(scalars=np.stack(list(chosen.values()), axis=1))
        self._stream.send_columns(entity, indexes=indexes, columns=columns)

    def _tab(self, view: EpisodeView, root: str) -> Any:
        rrb = self._rrb
        cameras = [rrb.Spatial2DView(origin=f"/{root}/camera/{camera}", name=camera) for camera in view.cameras]
        plots = [
            rrb.TimeSeriesView(origin=f"/{root}/{role}", name=f"{role} ({unit})" if unit else role)
            for role, unit in zip(("state", "action"), view.units, strict=True)
            if any(getattr(trace, role) is not None for trace in view.traces)
        ]
        texts = [rrb.TextDocumentView(origin=f"/{root}/task", name="task")]
        if view.eventful:
            texts.append(rrb.TextLogView(origin=f"/{root}/events", name="events"))
        rows = [part for part in (cameras, plots, texts) if part]
        shares = [3 if part is cameras else 2 if part is plots else 1 for part in rows]
        return rrb.Vertical(*(rrb.Horizontal(*part) for part in rows), row_shares=shares, name=f"episode {view.index}")
