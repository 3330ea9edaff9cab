"""Training episodes that a run's heads were not trained on: what thresholds and probabilities are judged on."""

from pathlib import Path

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.training.head_pairs import halves
from jepaflow.training.latents import Latents


def set_aside(run: Path, latents: Latents) -> Latents:
    """Return the episodes that `train_heads` set aside, by the share and seed that the run's heads.json records.

    Args:
        run: folder with heads.
        latents: of all training episodes, as `train_heads` had them.

    Raises:
        JepaflowError: heads.json is missing, or does not say how the heads were trained.
    """
    path = run / "heads.json"
    try:
        made = read_json(path)["training"]
        share, seed = float(made["aside"]), int(made["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise JepaflowError(
            f"{path} does not say which episodes the heads left out. Train them anew: jepaflow heads {run}"
        ) from error
    return halves(latents, share, np.random.default_rng([seed, 0]))[1]
