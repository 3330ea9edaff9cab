"""`jepaflow benchmark load|convert`: windows from the store over the same from mp4, reading against the size of the store,
and a conversion over decoding alone. Machines differ in their disks, so the cache is warm on both sides."""

import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch

from benchmarks.limits import copy_rate
from benchmarks.made_store import make_store
from benchmarks.pairs import Measure, alternate, growth_row, ratio_row, value_row
from jepaflow.cli.benchmark import Convert, Load
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.data.convert import ConvertConfig, convert
from jepaflow.data.hub import open_dataset
from jepaflow.data.store import Store
from jepaflow.data.windows import Windows

FRAMES, STRIDE, SIZE = 4, 5, 224
BATCH = 32
FROM_MP4 = 20
"""Windows read from mp4 at a time: they take long enough."""
GROWN_SIZE = 32
"""Side of the frames of the stores that grow: 100,000 of 224 px would take 15 GB."""


def videos_of(dataset: Path) -> list[Path]:
    """The dataset's mp4 files, one an episode.

    Raises:
        JepaflowError: there are none.
    """
    videos = sorted(dataset.glob("videos/*/*/episode_*.mp4"))
    if not videos:
        raise JepaflowError(f"{dataset} has no mp4 for each episode. Give the folder of a LeRobot v2.1 dataset.")
    return videos


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


def reading(windows: Windows, count: int) -> Measure:
    """A measure of one random window, its mean over `count` in batches."""
    order = windows.order(0, 0)
    batches = max(1, count // BATCH)
    numbers = [np.take(order, np.arange(i * BATCH, (i + 1) * BATCH), mode="wrap") for i in range(batches)]

    def measure() -> float:
        begin = time.perf_counter()
        for chosen in numbers:
            windows.batch(chosen)
        return (time.perf_counter() - begin) / (batches * BATCH)

    return measure


def load_rows(args: Load) -> list[Row]:
    """Measure ``loading/store_vs_mp4``, ``loading/windows_per_second`` and ``speed/scaling/store``.

    Raises:
        JepaflowError: the dataset has no mp4 files, or not two sizes were given.
    """
    videos = videos_of(args.dataset)
    if len(set(args.sizes)) < 2:
        raise JepaflowError("--sizes must name at least two different numbers of frames, or nothing grows.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.h5"
        convert(open_dataset(str(args.dataset)), path, ConvertConfig(SIZE, "crop", "fail", 0, (), {}, False))
        store = Store(path)
        windows = Windows([store], [tuple(range(store.num_episodes))], FRAMES, STRIDE, cache_bytes=0)
        some = windows.index[windows.order(0, 0)[:FROM_MP4]]

        def from_mp4() -> float:
            begin = time.perf_counter()
            for _, episode, step in some:
                assert mp4_window(videos[episode], int(step)).shape == (FRAMES, SIZE, SIZE, 3)
            return (time.perf_counter() - begin) / len(some)

        from_store = reading(windows, args.windows)
        from_store()
        pairs = alternate(from_store, from_mp4, args.repeats)
        copy = copy_rate(torch.device("cpu"), 256, 0.3)
    rates = [1 / one for one in pairs.ours]
    moved = 2 * FRAMES * SIZE**2 * 3 / pairs.ours_median
    what = f"{FRAMES} frames of {SIZE} px, warm cache, one process, the file and not a copy in memory"
    note = (
        f"{what}; median rates {1 / pairs.ours_median:,.0f} over {1 / pairs.reference_median:,.0f} windows/s; "
        f"{moved / 1e9:.2f} GB/s read and written, {moved / copy:.0%} of this machine's copying {copy / 1e9:.1f} GB/s"
    )
    rows = [ratio_row("loading/store_vs_mp4", pairs, note)]
    return [*rows, value_row("loading/windows_per_second", rates, "windows/s", what), store_growth(args)]


def store_growth(args: Load) -> Row:
    """How the time of a window grows with the frames in the store: it should not."""
    with tempfile.TemporaryDirectory() as folder:
        measures = []
        for frames in args.sizes:
            store = Store(make_store(Path(folder) / f"{frames}.h5", frames, GROWN_SIZE))
            windows = Windows([store], [tuple(range(store.num_episodes))], FRAMES, STRIDE, cache_bytes=0)
            measures.append(reading(windows, args.windows))
        note = f"a random window of {FRAMES} frames of {GROWN_SIZE} px, warm cache, one process"
        return growth_row("store", args.sizes, measures, args.repeats, note)


def convert_rows(args: Convert) -> list[Row]:
    """Measure ``convert/vs_decode``, the whole command (decode, resize, crop, write, journal) over decoding alone, and
    ``convert/workers``, several processes over one.

    Raises:
        JepaflowError: the dataset has no mp4 files.
    """
    videos, frames = videos_of(args.dataset), 0

    def decode() -> float:
        nonlocal frames
        begin, frames = time.perf_counter(), 0
        for path in videos:
            with av.open(str(path)) as container:
                container.streams.video[0].thread_type = "AUTO"
                frames += sum(1 for _ in container.decode(video=0))
        return time.perf_counter() - begin

    def ours(workers: int = 1) -> float:
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            config = ConvertConfig(SIZE, "crop", "fail", 0, (), {}, False, workers)
            convert(open_dataset(str(args.dataset)), Path(folder) / "x.h5", config)
            return time.perf_counter() - begin

    decode()
    pairs = alternate(ours, decode, args.repeats)
    rates = f"{frames / pairs.ours_median:,.0f} over {frames / pairs.reference_median:,.0f} frames/s"
    note = (
        f"to {SIZE} px, whole command against a bare PyAV decode, both with frame threads; median rates {rates}; bare decoding "
        "is the limit of this machine"
    )
    many = alternate(lambda: ours(args.workers), ours, args.repeats)
    rates = f"{frames / many.ours_median:,.0f} over {frames / many.reference_median:,.0f} frames/s"
    gain = f"to {SIZE} px, {args.workers} processes over one, their start included; median rates {rates}"
    return [ratio_row("convert/vs_decode", pairs, note), ratio_row("convert/workers", many, gain)]
