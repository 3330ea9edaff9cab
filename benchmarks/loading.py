"""Speed of the data path and of a training step, as ratios measured in one run.

    python -m benchmarks.loading DATASET [--json results/loading.json]

Rows: ``loading/store_vs_mp4`` (random windows a second from the store over the same windows from the mp4 by seeking),
``convert/vs_decode`` (frames a second of jepaflow convert over a bare PyAV decode of the same files), and
``train/vs_plain_step`` (frames a second of our training step over the plain one of ``benchmarks/reference``). Each pair is
run alternately, several times; the median of the pairwise ratios is the value, min and max are the interval.
"""

import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
import tyro

from benchmarks.reference.plain_step import plain_attention, plain_loss
from jepaflow.common.console import console
from jepaflow.common.results import Row, write_results
from jepaflow.data.convert import ConvertConfig, convert
from jepaflow.data.hub import open_dataset
from jepaflow.data.store import Store
from jepaflow.data.windows import Window, Windows
from jepaflow.training.objective import ObjectiveConfig, losses
from jepaflow.worldmodel.jepa import JEPA
from jepaflow.worldmodel.presets import preset

FRAMES, STRIDE, SIZE = 4, 5, 224


@dataclass(frozen=True)
class Args:
    """Measure loading, conversion and a training step on a v2.1 dataset (one mp4 an episode)."""

    dataset: tyro.conf.Positional[Path]
    """folder of a LeRobot v2.1 dataset"""
    repeats: int = 5
    json: Path | None = None


def ratio(
    name: str, unit: str, ours: Callable[[], float], reference: Callable[[], float], repeats: int, note: str
) -> Row:
    """Run both in turn; each returns a rate, higher is better."""
    pairs = [(ours(), reference()) for _ in range(repeats)]
    ratios = sorted(a / b for a, b in pairs)
    fast, slow = (float(np.median([p[i] for p in pairs])) for i in (0, 1))
    value = float(np.median(ratios))
    console.print(f"{name}: {value:.2f} ({ratios[0]:.2f} – {ratios[-1]:.2f}); {fast:,.0f} against {slow:,.0f} {unit}")
    note = (
        f"{note}; median rates {fast:,.0f} over {slow:,.0f} {unit}; low and high are the min and max of {repeats} pairs"
    )
    return Row(name, value, ratios[0], ratios[-1], repeats, 1, "ratio", note=note)


def mp4_window(path: Path, first: int) -> np.ndarray:
    """Frames ``first + 0, 5, 10, 15`` of an mp4, by one seek to the keyframe before and decoding on."""
    wanted = [first + STRIDE * i for i in range(FRAMES)]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate, base = float(stream.average_rate), float(stream.time_base)
        container.seek(int(wanted[0] / rate / base), stream=stream, backward=True)
        frames = []
        for frame in container.decode(stream):
            number = round(float(frame.pts * stream.time_base) * rate)
            if number in wanted:
                scale = SIZE / min(frame.width, frame.height)
                scaled = frame.reformat(round(frame.width * scale), round(frame.height * scale), "rgb24").to_ndarray()
                top, left = (scaled.shape[0] - SIZE) // 2, (scaled.shape[1] - SIZE) // 2
                frames.append(scaled[top : top + SIZE, left : left + SIZE])
            if number >= wanted[-1]:
                return np.stack(frames)
    return np.stack(frames)


def loading(args: Args, store: Store, videos: list[Path]) -> Row:
    """Random windows from the store (from disk, not from memory) over the same from the mp4 files."""
    windows = Windows([store], [tuple(range(store.num_episodes))], FRAMES, STRIDE, cache_bytes=0)
    order = windows.order(0, 0)

    def from_store() -> float:
        begin = time.perf_counter()
        for i in range(64):
            windows.batch(order[i * 32 % 1024 :][:32])
        return 64 * 32 / (time.perf_counter() - begin)

    def from_mp4() -> float:
        begin = time.perf_counter()
        for _, episode, step in windows.index[order[:20]]:
            assert mp4_window(videos[episode], int(step)).shape == (FRAMES, SIZE, SIZE, 3)
        return 20 / (time.perf_counter() - begin)

    return ratio(
        "loading/store_vs_mp4",
        "windows/s",
        from_store,
        from_mp4,
        args.repeats,
        f"4 frames of {SIZE} px, warm cache, one process",
    )


def conversion(args: Args, videos: list[Path]) -> Row:
    """jepaflow convert (decode, resize, crop, write, journal) over decoding alone."""
    frames = 0

    def decode() -> float:
        nonlocal frames
        begin, frames = time.perf_counter(), 0
        for path in videos:
            with av.open(str(path)) as container:
                container.streams.video[0].thread_type = "AUTO"
                frames += sum(1 for _ in container.decode(video=0))
        return frames / (time.perf_counter() - begin)

    def ours() -> float:
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            report = convert(
                open_dataset(str(args.dataset)),
                Path(folder) / "x.h5",
                ConvertConfig(SIZE, "crop", "fail", 0, (), {}, False),
            )
            return report.frames / (time.perf_counter() - begin)

    decode()
    return ratio(
        "convert/vs_decode",
        "frames/s",
        ours,
        decode,
        args.repeats,
        f"to {SIZE} px, whole command against a bare PyAV decode, both with frame threads",
    )


def training_step(args: Args) -> Row:
    """One optimizer-free step (forward and backward) of nano on random frames."""
    config, loss = preset("nano"), ObjectiveConfig()
    batch = 64
    window = Window(
        torch.randint(0, 255, (batch, FRAMES, 1, 64, 64, 3), dtype=torch.uint8),
        torch.randn(batch, FRAMES, STRIDE, 2),
        None,
        np.zeros((batch, 3), np.int64),
    )
    ours_model, plain_model = JEPA(config), JEPA(config)

    def run(step: Callable[[], torch.Tensor], model: JEPA) -> float:
        begin = time.perf_counter()
        for _ in range(3):
            model.zero_grad()
            step().backward()
        return 3 * batch * FRAMES / (time.perf_counter() - begin)

    def ours() -> float:
        return run(lambda: losses(ours_model, window, loss, torch.Generator().manual_seed(0)).total, ours_model)

    def plain() -> float:
        with plain_attention():
            return run(
                lambda: plain_loss(plain_model, window, loss.sigreg, loss.directions, torch.Generator().manual_seed(0)),
                plain_model,
            )

    ours(), plain()
    return ratio(
        "train/vs_plain_step",
        "frames/s",
        ours,
        plain,
        args.repeats,
        "nano, batch 64 × 4 frames of 64 px, forward and backward",
    )


def main(args: Args) -> None:
    """Measure all three and write the rows."""
    videos = sorted(args.dataset.glob("videos/*/*/episode_*.mp4"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.h5"
        convert(open_dataset(str(args.dataset)), path, ConvertConfig(SIZE, "crop", "fail", 0, (), {}, False))
        rows = [loading(args, Store(path), videos), conversion(args, videos), training_step(args)]
    if args.json:
        write_results(args.json, shlex.join(["python", "-m", "benchmarks.loading", *sys.argv[1:]]), rows)


if __name__ == "__main__":
    main(tyro.cli(Args))
