"""How wrong a forecast may be before the world is taken to have done something else: a threshold with a known error rate."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jepaflow.common.errors import JepaflowError


def surprise_threshold(errors: Float[np.ndarray, "..."], false_alarms: float = 0.01) -> float:
    """Return the forecast error that calm blocks exceed in at most this share of cases (split conformal quantile).

    Args:
        errors: forecast errors of blocks in which nothing unusual happened, not those of training episodes.
        false_alarms: share of calm blocks that may be called surprising.

    Raises:
        JepaflowError: too few errors for so small a share.
    """
    known = np.sort(np.asarray(errors, dtype=np.float64).ravel())
    rank = int(np.ceil((len(known) + 1) * (1.0 - false_alarms)))
    if not 0.0 < false_alarms < 1.0 or rank > len(known):
        raise JepaflowError(
            f"{len(known)} forecast errors cannot show a share of {false_alarms:g} false alarms. "
            "Give more errors or a larger share."
        )
    return float(known[rank - 1])
