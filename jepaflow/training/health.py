"""Health: is the model going blind or collapsing *while* it trains? Measured on held-out windows, in eval mode."""

import math

import torch

from jepaflow.data.windows import Window
from jepaflow.worldmodel.jepa import JEPA
from jepaflow.worldmodel.latent_stats import effective_rank, normality_failures


@torch.no_grad()
def health(model: JEPA, windows: list[Window]) -> dict[str, float]:
    """Measure a model on batches of held-out windows.

    Returns:
        ``val/prediction`` (mean square), ``val/skill`` (1 − MSE(forecast)/MSE(copy last frame), one model step),
        ``val/effective_rank`` and ``val/not_normal`` (share of random directions that fail a normality test).
    """
    training, device = model.training, model.device
    model.eval()
    history = model.config.history
    forecast_error = copy_error = 0.0
    latents = []
    for window in windows:
        window = window.to(device)
        z = model.encode(window.pixels, window.proprio)
        forecast = model.predict(z[:, :history], window.blocks[:, :history])[:, -1]
        forecast_error += float((forecast - z[:, history]).square().mean())
        copy_error += float((z[:, history - 1] - z[:, history]).square().mean())
        latents.append(z[:, 0])
    cloud = torch.cat(latents).cpu()
    model.train(training)
    figures = {
        "val/prediction": forecast_error / len(windows),
        "val/skill": 1 - forecast_error / max(copy_error, 1e-12),
        "val/effective_rank": effective_rank(cloud),
        "val/not_normal": float(normality_failures(cloud, 64, torch.Generator().manual_seed(0))),
    }
    return {name: value for name, value in figures.items() if math.isfinite(value)}  # too few windows for some of them
