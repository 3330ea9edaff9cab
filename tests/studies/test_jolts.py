"""Surprise at impossible frames, of a forecaster that knows and of one that does not."""

import torch

from jepaflow.studies.jolts import surprise


def test_surprise_at_what_cannot_be() -> None:
    rng = torch.Generator().manual_seed(0)
    path = torch.randn(400, 6, generator=rng).cumsum(0)  # a walk that goes on from frame to frame
    last, came, later = path[:-4], path[1:-3], path[4:]
    knows = surprise(came + 0.01, last, came, later)
    assert knows["frozen_auroc"] == 1.0 and knows["jump_auroc"] == 1.0
    copied = surprise(last, last, came, later)
    assert copied["frozen_auroc"] == 0.0 and copied["jump_auroc"] == copied["jump_auroc_copy"]
    blind = surprise(torch.randn(len(last), 6, generator=rng) * 1e3, last, came, later)
    assert blind["frozen_auroc"] is not None and abs(blind["frozen_auroc"] - 0.5) < 0.05
    still = surprise(came, came, came, later)
    assert still["frozen_auroc"] is None and still["jump_auroc"] == 1.0
