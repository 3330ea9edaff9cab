"""Who is asked whether it is surprised: a model with what its surprise is calibrated on, and its untrained twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.data.windows import Window
from jepaflow.diagnosis.latents import Encodes, Imagines
from jepaflow.diagnosis.surprise_films import Film, Take
from jepaflow.diagnosis.surprise_scores import Gauge, encode_film, expect
from jepaflow.diagnosis.untrained import untrained_twin
from jepaflow.training.calibrate import calibrate
from jepaflow.worldmodel.jepa import JEPA


@runtime_checkable
class SeesAndImagines(Encodes, Imagines, Protocol):
    """A world model, as far as surprise needs one."""


class Seer:
    """A model with its two gauges: surprise by its forecasts, and by the forecast that nothing moves.

    Args:
        model: in eval mode.
        history: H, frames that a forecast is made from.
        proprio: whether it is told the joints.
    """

    def __init__(self, model: SeesAndImagines, history: int, proprio: bool) -> None:
        self.model, self.history, self.proprio = model, history, proprio

    def encode(self, film: Film) -> Float[Tensor, "n D"]:
        """Return a latent per frame."""
        return encode_film(self.model, film, self.proprio)

    def calibrate(self, takes: Sequence[Take], score: str) -> None:
        """Fit both gauges on episodes of normal motion.

        Raises:
            JepaflowError: they are too short for a single forecast.
        """
        found = [self._errors(self.encode(t.film), t, range(self.history, len(t.film))) for t in takes]
        residual, step = (np.concatenate(parts) for parts in zip(*found))
        if len(residual) < 2:
            raise JepaflowError(
                f"no calibration episode has the {self.history + 1} frames that a forecast and its check need. "
                "Use a world with longer episodes, or a model with a shorter history or block."
            )
        self.gauge, self.still = Gauge.fit(residual, score), Gauge.fit(step, score)

    def judge(self, z: Float[Tensor, "n D"], take: Take, frames: Sequence[int]) -> Float[ndarray, "2 S"]:
        """Return z-scores of some frames: by the model's forecasts, by copy-last; NaN where history or frame is missing."""
        able = [f for f in frames if self.history <= f < len(z)]
        residual, step = self._errors(z, take, able)
        scores = np.full((2, len(frames)), np.nan)
        at = [list(frames).index(f) for f in able]
        scores[0, at], scores[1, at] = self.gauge(residual), self.still(step)
        return scores

    def _errors(self, z: Tensor, take: Take, frames: Sequence[int]) -> tuple[ndarray, ndarray]:
        """Observed minus expected latents, and observed minus the last ones."""
        ahead = expect(self.model, z, torch.from_numpy(np.ascontiguousarray(take.blocks)), list(frames), self.history)
        seen, before = z[list(frames)].numpy(), z[[f - 1 for f in frames]].numpy()
        return seen - ahead, seen - before


def untrained(model: JEPA, takes: Sequence[Take], seed: int) -> JEPA:
    """Return a model of the same architecture with fresh weights; its input scalers and BatchNorm statistics suit the data."""
    fresh = untrained_twin(model, seed)
    length = model.config.history + 1
    parts = [(t.film.part(slice(0, length)), t.blocks[:length]) for t in takes if len(t.film) > length]
    if parts:
        body = torch.from_numpy(np.stack([film.proprio for film, _ in parts]))
        calibrate(
            fresh,
            [
                Window(
                    torch.from_numpy(np.stack([film.frames for film, _ in parts])),
                    torch.from_numpy(np.stack([blocks for _, blocks in parts])),
                    body if model.config.proprio_dim else None,
                    np.zeros((len(parts), 3), dtype=np.int64),
                )
            ],
        )
    return fresh.eval()
