"""Frames to mp4, and several mp4 of one kind joined into one without decoding.

Episodes are encoded one by one and joined by copying packets: a crash while recording costs the episode being encoded
and no more, and joining is as fast as copying a file. Timestamps are whole multiples of 1/fps and there are no
B-frames, so frame k of a joined file lies at exactly k/fps: the slot arithmetic of LeRobot v3.0 needs no tolerance.
"""

import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from jepaflow.common.errors import JepaflowError

# Every second frame is a key frame (LeRobot's choice): a random frame costs at most two decodes.
GROUP_OF_PICTURES = 2
_QUALITY: dict[str, dict[str, str]] = {
    # CRF 18 keeps 64-pixel simulator frames within a few grey levels; LeRobot's own CRF 30 is for 480x640 cameras.
    # Measured on 96-pixel scenes: "ultrafast" costs 0.2 ms a frame where "veryfast" costs 0.36, at a smaller loss and a
    # third more bytes. One thread: several processes encode at once, and the bytes must not depend on the machine.
    "libx264": {"crf": "18", "preset": "ultrafast", "bf": "0", "threads": "1"},
    # Without any loss, in full colour: yuv420p dulls a small red disc, and a model that saw only such pictures takes the
    # simulator's own for strange ones (the maze: its latents moved by half their spread).
    "libx264rgb": {"crf": "0", "preset": "ultrafast", "bf": "0", "threads": "1"},
    "libsvtav1": {"crf": "30", "preset": "12"},
}
_PIXELS = {"libx264rgb": "rgb24"}
"""Pixel format of a codec where it is not yuv420p."""


def frame_rate(fps: float | int) -> Fraction:
    """The rate of a dataset as a fraction (29.97 becomes 2997/100)."""
    return Fraction(fps).limit_denominator(1001)


def encode_video(
    path: Path, frames: Iterable[np.ndarray], fps: float | int, codec: str = "libx264"
) -> tuple[int, int, int]:
    """Encode uint8 frames ``(H, W, 3)`` at ``fps`` frames per second; returns (frames, height, width).

    Raises:
        JepaflowError: when a frame has another shape or type than the first, a side is odd, or the codec is absent.
    """
    if codec not in _QUALITY or codec not in av.codecs_available:
        raise JepaflowError(f"The video codec {codec!r} is not available. Choose one of: {', '.join(_QUALITY)}.")
    os.environ.setdefault("SVT_LOG", "1")  # errors only: the encoder prints 20 lines per file otherwise
    rate, count, shape = frame_rate(fps), 0, (0, 0, 0)
    with av.open(str(path), "w", format="mp4", options={"video_track_timescale": str(rate.numerator)}) as container:
        stream: Any = None
        for frame in frames:
            if stream is None:
                shape = _checked_shape(frame)
                stream = container.add_stream(codec, rate=rate)
                stream.height, stream.width = shape[0], shape[1]
                stream.pix_fmt = _PIXELS.get(codec, "yuv420p")
                stream.options = {**_QUALITY[codec], "g": str(GROUP_OF_PICTURES)}
                stream.time_base = 1 / rate
            if frame.shape != shape or frame.dtype != np.uint8:
                raise JepaflowError(
                    f"Frame {count} for {path.name} is {frame.dtype} {frame.shape}, the first was uint8 {shape}. "
                    "All frames of one camera must be alike."
                )
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = count, 1 / rate
            container.mux(stream.encode(picture))
            count += 1
        if stream is not None:
            container.mux(stream.encode())
    return count, shape[0], shape[1]


def _checked_shape(frame: np.ndarray) -> tuple[int, int, int]:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise JepaflowError(f"A frame is {frame.dtype} {frame.shape}. Frames must be uint8 (height, width, 3).")
    if frame.shape[0] % 2 or frame.shape[1] % 2:
        raise JepaflowError(f"A frame is {frame.shape[0]}x{frame.shape[1]}. yuv420p video needs even sides.")
    return frame.shape[0], frame.shape[1], frame.shape[2]


def join_videos(paths: Sequence[Path], lengths: Sequence[int], out: Path, fps: float | int) -> None:
    """Join mp4 files made by :func:`encode_video`, whose ``lengths`` (frames) are given, into ``out``."""
    rate, done = frame_rate(fps), 0
    with av.open(str(out), "w", format="mp4", options={"video_track_timescale": str(rate.numerator)}) as target:
        stream: Any = None
        for path, length in zip(paths, lengths, strict=True):
            with av.open(str(path)) as source:
                video = source.streams.video[0]
                if stream is None:
                    stream = target.add_stream_from_template(video, opaque=True)
                    stream.time_base = 1 / rate
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    # Whole frame numbers, never seconds: rounding errors would pile up along a file.
                    number = done + round(packet.pts * packet.time_base * rate)
                    packet.time_base = 1 / rate
                    packet.pts = packet.dts = number
                    packet.duration = 1
                    packet.stream = stream
                    target.mux(packet)
            done += length


def video_info(path: Path, fps: float | int) -> dict[str, Any]:
    """The ``info`` entry that LeRobot keeps for a video feature."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        name = {"libdav1d": "av1"}.get(stream.codec_context.name, stream.codec_context.name)
        return {
            "video.height": stream.height,
            "video.width": stream.width,
            "video.codec": name,
            "video.pix_fmt": stream.codec_context.pix_fmt,
            "video.is_depth_map": False,
            "video.fps": int(fps) if float(fps).is_integer() else fps,
            "video.channels": 3,
            "has_audio": False,
        }
