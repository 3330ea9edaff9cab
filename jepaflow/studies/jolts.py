"""Is a model surprised by what cannot be? Two impossible next frames that any dataset holds, no simulator needed.

*Frozen*: the next frame is the last one again, although the world moved (windows that move more than the median). *Jump*: the
next frame is one from ``leap`` model steps later. Surprise is the distance of the forecast from what is seen; the chance that
an impossible frame surprises more than a possible one is the AUROC. Floors: chance, and for jumps a forecaster that repeats the
last frame, which is surprised by whatever moves far.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from jepaflow.diagnosis.surprise_scores import auroc
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.measures import imagine
from jepaflow.studies.readings import Readings


@dataclass(frozen=True)
class Jolts:
    """Scalars ``frozen_auroc``, ``jump_auroc`` and the floor ``jump_auroc_copy``."""

    history: int = 3
    leap: int = 3
    name: str = "jolts"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the figures depend on."""
        return {"history": self.history, "leap": self.leap, "version": 1}

    def __call__(self, evidence: Evidence) -> Readings:
        """Judge every window that reaches far enough."""
        windows = evidence.windows(self.history, 1 + self.leap)
        whole = windows.reach > self.leap
        if int(whole.sum()) < 2:
            return Readings()
        forecast, last = imagine(evidence.model, windows)[whole, 0], windows.history[whole, -1]
        return Readings(scalars=surprise(forecast, last, windows.target[whole, 0], windows.target[whole, self.leap]))


def surprise(
    forecast: Float[Tensor, "W D"], last: Float[Tensor, "W D"], came: Float[Tensor, "W D"], later: Float[Tensor, "W D"]
) -> dict[str, float | None]:
    """AUROC of the forecast's distance, from impossible next frames against the one that came.

    Args:
        forecast: of the next latent.
        last: latent that was seen last; as the next one where the world moved, it is impossible.
        came: the next latent.
        later: one from some model steps later; impossible as the next one.
    """

    def off(one: Tensor, other: Tensor) -> Float[ndarray, " W"]:
        distance: ndarray = (one.double() - other.double()).square().mean(-1).numpy()
        return distance

    usual, motion = off(forecast, came), off(came, last)
    moves = motion > np.median(motion)
    return {
        "frozen_auroc": auroc(off(forecast, last)[moves], usual[moves]) if moves.any() else None,
        "jump_auroc": auroc(off(forecast, later), usual),
        "jump_auroc_copy": auroc(off(last, later), motion),
    }
