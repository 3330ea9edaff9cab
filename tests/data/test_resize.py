"""Every width comes out whole: a frame that needs no scaling is the decoder's own picture, column by column."""

import av
import numpy as np
import pytest

from jepaflow.data.resize import ImageRule


@pytest.mark.parametrize("size", [8, 16, 24, 32, 40, 64, 96, 100, 224, 232])
def test_a_frame_of_the_target_size_keeps_every_column(size: int) -> None:
    picture = np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    assert np.array_equal(ImageRule(size).from_video(frame), frame.to_ndarray(format="rgb24"))


@pytest.mark.parametrize(("height", "width", "size"), [(48, 80, 24), (60, 40, 40), (300, 200, 100), (30, 20, 40)])
def test_scaled_frames_have_no_unwritten_columns(height: int, width: int, size: int) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 200, dtype=np.uint8), format="rgb24")
    for fit in ("crop", "squash"):
        seen = ImageRule(size, fit).from_video(frame.reformat(format="yuv420p"))
        assert np.abs(seen.astype(int) - 200).max() <= 3
