"""``jepaflow convert DATASET OUT.h5``: a LeRobot dataset or a folder of videos becomes a store."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import tyro
from rich.markup import escape

from jepaflow.common.console import console
from jepaflow.common.files import write_json
from jepaflow.data.conversion_plan import ConvertConfig
from jepaflow.data.convert import convert
from jepaflow.data.hub import open_dataset
from jepaflow.data.types import compact


@dataclass(frozen=True)
class Args:
    """Convert a dataset into a store. Interrupted, the same command continues after the last whole episode."""

    dataset: tyro.conf.Positional[str]
    """Folder of a LeRobot dataset (v2.0, v2.1, v3.0) or of videos, or a hub id (owner/name)."""
    out: tyro.conf.Positional[Path]
    """The store to write (.h5)."""
    image_size: int = 224
    """Side of the square frames in the store, pixels."""
    fit: Literal["crop", "pad", "squash"] = "crop"
    """crop: short side to the size, centre kept. pad: long side to the size, on black. squash: aspect ignored."""
    on_damage: Literal["fail", "drop", "keep"] = "fail"
    """Damaged episodes: fail stops, drop leaves them out, keep repeats the frame before an undecodable one."""
    verify: int = 16
    """Random frames to read again from source and store and compare; 0 for none."""
    cameras: tuple[str, ...] = ()
    """Cameras to keep, primary first; all by default."""
    units: dict[str, str] = field(default_factory=dict)
    """Units of features where the dataset does not tell, e.g. action rad/s observation.state rad."""
    overwrite: bool = False
    """Replace an existing store once the new one is whole, or begin an interrupted one anew."""
    workers: int = 1
    """Processes that decode: for many cores, two gain nothing from them. Each holds about two episodes of one camera in memory."""
    json: Path | None = None
    """Write the figures to this file."""


def run(args: Args) -> int:
    """Convert and say what was done."""
    dataset = open_dataset(args.dataset)
    if dataset.absent:
        console.print(
            f"[yellow]warning[/] {len(dataset.absent)} of {len(dataset.absent) + len(dataset.episodes)} episodes "
            f"are promised but absent: {compact(dataset.absent)}"
        )
    config = ConvertConfig(
        args.image_size, args.fit, args.on_damage, args.verify, args.cameras, args.units, args.overwrite, args.workers
    )
    report = convert(dataset, args.out, config)
    for entry in report.dropped:
        console.print(f"[yellow]dropped[/] episode {entry['episode']}: {escape(' '.join(entry['damage']))}")
    for entry in report.damaged_but_kept:
        console.print(f"[yellow]kept damaged[/] episode {entry['episode']}: {escape(' '.join(entry['damage']))}")
    check = report.verification
    console.print(
        f"{args.out}: {report.episodes} episodes, {report.frames} rows, cameras {', '.join(report.cameras)}; "
        f"{report.image_rule}; {report.frames_per_second:.0f} frames/s; "
        f"{check['frames']} frames verified, largest difference {check['largest_difference']}."
    )
    if args.json:
        write_json(args.json, asdict(report))
    return 0
