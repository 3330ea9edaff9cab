"""A model of the same architecture that has learned nothing: the floor of whatever is read from latents."""

import torch

from jepaflow.worldmodel.jepa import JEPA


def untrained_twin(model: JEPA, seed: int = 0) -> JEPA:
    """The same architecture with fresh weights, on the same device, in eval mode; it knows the scales of its inputs, as any model must.

    Args:
        model: whose configuration and scalers it has.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = JEPA(model.config)
    scalers = {name: value for name, value in model.state_dict().items() if "_scaler." in name}
    twin.load_state_dict(scalers, strict=False)
    return twin.to(model.device).eval().requires_grad_(False)
