"""Did the last block do what the model foresaw? Forecast errors along an episode, and the error that calm blocks hardly exceed.

Legend: E environments, D latent, K control steps in a block, A action size.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from jepaflow.planning.surprise import surprise_threshold
from jepaflow.subgoals.aside import set_aside
from jepaflow.training.checkpoint import Run
from jepaflow.training.latents import Latents
from jepaflow.worldmodel.jepa import JEPA

FALSE_ALARMS = 0.01
"""share of the blocks of episodes set aside that count as surprising"""


@torch.no_grad()
def forecast_errors(
    model: JEPA, seen: Sequence[Float[Tensor, "E D"]], done: Sequence[Float[Tensor, "E K A"]], now: Float[Tensor, "E D"]
) -> Float[ndarray, " E"]:
    """Return the mean squared error of the last block's forecast.

    Args:
        model: in eval mode.
        seen: latents of this episode before the last block, one model step apart.
        done: the block executed after each of them.
        now: latents after the last block.
    """
    window = model.config.history
    states, blocks = torch.stack(list(seen[-window:]), 1), torch.stack(list(done[-window:]), 1)
    forecast = model.rollout(states, blocks[:, :-1], blocks[:, -1:])[:, 0]
    return np.asarray((forecast - now).square().mean(1).numpy().astype(np.float64))


def surprising(run: Run, latents: Latents, false_alarms: float = FALSE_ALARMS) -> float:
    """Return the error that this share of the blocks of some training episodes exceed (those set aside for heads).

    Args:
        run: the run.
        latents: of its training episodes.
        false_alarms: share.

    Raises:
        JepaflowError: there are too few blocks for so small a share.
    """
    aside = set_aside(run.path, latents)
    model, found = run.model, [np.zeros(0)]
    for z, blocks in aside.model_steps(model.config.block):
        for end in range(1, min(len(z), len(blocks) + 1)):
            first = max(0, end - model.config.history)
            seen, done = z[first:end].unsqueeze(1), blocks[first:end].unsqueeze(1)
            found.append(forecast_errors(model, list(seen), list(done), z[end : end + 1]))
    return surprise_threshold(np.concatenate(found), false_alarms)
