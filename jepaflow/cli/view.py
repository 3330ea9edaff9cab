"""``jepaflow view DATASET|ENV``: look at episodes as a contact sheet, a film or a Rerun recording.

Episodes go by one at a time and every picture that was asked for takes its part of each, so a world acts each episode
once and a long dataset never lies in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from jepaflow.common.console import console, progress
from jepaflow.common.files import write_json
from jepaflow.evaluation.contact_sheet import ContactSheet
from jepaflow.evaluation.episode_view import EpisodeView
from jepaflow.evaluation.film import open_film
from jepaflow.evaluation.rerun_log import open_recording
from jepaflow.evaluation.view_sources import Choice, views
from jepaflow.sims.registry import WorldOptions

ROWS, MOVING = 6, 3
"""Episodes shown when none is named: on a contact sheet, and in a film or recording."""


@dataclass(frozen=True)
class Args:
    """Show episodes of a dataset, or of an environment's scripted expert: a contact sheet unless a film is asked for."""

    target: tyro.conf.Positional[str]
    """Folder of a LeRobot dataset or of videos, a hub id (owner/name), or an environment such as two_room."""
    output: Path | None = None
    """PNG file of the contact sheet; view/<name>.png by default. With --mp4 or --rrd there is one only if this is given."""
    mp4: Path | None = None
    """Film of the episodes: cameras side by side, the traces of state and action below."""
    rrd: Path | None = None
    """Recording for the Rerun viewer; needs the extra jepaflow[rerun]."""
    episodes: tuple[int, ...] | None = None
    """Numbers of the episodes; by default a few, spread over the dataset."""
    cameras: tuple[str, ...] | None = None
    """Names of the cameras; by default all."""
    columns: int = 8
    """Frames per episode on the contact sheet."""
    seed: int = 0
    """Of an environment's episodes."""
    image_size: int = 256
    """Side of an environment's pictures in px."""
    behaviour: str = "expert"
    """Who acts in an environment: expert, or for an arm also failures, play, babble."""
    vary: tuple[str, ...] = ()
    """An arm's factors of variation to draw: all, object, light, camera.phone, ..."""
    fix: tuple[str, ...] = ()
    """An arm's factors with a given value: object.color=blue light.level=0.3 ... (obstacle=wall: pick_place only)"""
    renderer: str = "auto"
    """An arm's renderer: gl, ray or auto."""
    arm_mjcf: Path | None = None
    """A meshed model of the arm, in MuJoCo Menagerie's layout."""
    json: Path | None = None
    """Write what was shown to this file."""


def run(args: Args) -> int:
    """Draw what was asked for; 0 when all of it is written."""
    output = args.output
    if output is None and args.mp4 is None and args.rrd is None:
        folder = Path(args.target).expanduser()
        name = folder.resolve().name if folder.exists() else args.target.replace("/", "_")
        output = Path("view") / f"{name or 'view'}.png"
    count = ROWS if args.mp4 is None and args.rrd is None else MOVING
    world = WorldOptions(renderer=args.renderer, vary=args.vary, fix=args.fix, arm_mjcf=args.arm_mjcf)
    choice = Choice(args.episodes, count, args.cameras, args.seed, args.image_size, args.behaviour, world)
    shown: list[dict[str, Any]] = []
    files: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        takers: list[Callable[[EpisodeView], None]] = []
        sheet = ContactSheet(args.columns) if output is not None else None
        film = stack.enter_context(open_film(args.mp4)) if args.mp4 is not None else None
        log = stack.enter_context(open_recording(args.rrd)) if args.rrd is not None else None
        takers += [part.add for part in (sheet, film, log) if part is not None]
        advance = stack.enter_context(progress("view", len(args.episodes or ()) or None))
        for view in views(args.target, choice):
            for take in takers:
                take(view)
            shown.append(_facts(view))
            advance()
        if sheet is not None and output is not None:
            height, width = sheet.save(output)
            files[str(output)] = {"height": height, "width": width}
        if film is not None:
            files[str(args.mp4)] = film.facts()
        if log is not None:
            files[str(args.rrd)] = {}
    for name, facts in files.items():
        size = f", {facts['width']}x{facts['height']} px" if facts else ""
        length = f", {facts['seconds']:.1f} s" if "seconds" in facts else ""
        console.print(f"{name}: {len(shown)} episode{'s' * (len(shown) != 1)}{size}{length}.", markup=False)
    if args.json is not None:
        write_json(args.json, {"target": args.target, "files": files, "episodes": shown})
    return 0


def _facts(view: EpisodeView) -> dict[str, Any]:
    return {
        "source": view.source,
        "episode": view.index,
        "frames": view.length,
        "seconds": view.seconds,
        "task": view.task,
        "cameras": list(view.cameras),
        "traces": [trace.name for trace in view.traces],
        "events": [{"frame": e.frame, "seconds": e.frame / view.fps, "text": e.text} for e in view.events],
    }
