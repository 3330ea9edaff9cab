"""The MLP probe: what a small network reads from the same features as the ridge, fitted to all targets together.

Two hidden layers of 256, float32, on z-scored features and z-scored targets, so that one network serves metres, degrees and
yes or no (squared error finds the probability of yes). Some targets are not in the features at all and are overfitted while
others still improve: training episodes set aside choose *for each target* the state of the network that reads it best. No
held-out episode takes part in any choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.diagnosis.ridge import Labelled, deviations

ASIDE = 0.15
"""Share of the training episodes that chooses."""


@dataclass(frozen=True)
class MLPConfig:
    """How the network is made and fitted."""

    width: int = 256
    steps: int = 2000
    batch_size: int = 256
    lr: float = 2e-3
    weight_decay: float = 1e-2
    choices: int = 20
    """states of the network that are compared, evenly over the steps"""

    def __post_init__(self) -> None:
        for name in ("width", "steps", "batch_size", "choices"):
            if getattr(self, name) < 1:
                raise JepaflowError(f"The MLP probe's {name} is {getattr(self, name)}; it must be at least 1.")


State = dict[str, Tensor]


@dataclass(frozen=True)
class MLP:
    """A fitted network: for each group of quantities, the state that reads it best."""

    network: nn.Sequential
    states: tuple[State, ...]
    groups: tuple[slice, ...]
    x_mean: Float[Tensor, " D"]
    x_std: Float[Tensor, " D"]
    y_mean: Float[Tensor, " Q"]
    y_std: Float[Tensor, " Q"]

    def read(self, features: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n Q"]:
        """What the probe reads, in the units of the quantities."""
        x = (torch.from_numpy(np.asarray(features, np.float32)) - self.x_mean) / self.x_std
        out = torch.zeros(len(x), len(self.y_mean))
        with torch.inference_mode():
            for state in {id(s): s for s in self.states}.values():
                self.network.load_state_dict(state)
                read = self.network(x)
                for own, group in zip(self.states, self.groups):
                    if own is state:
                        out[:, group] = read[:, group]
        return np.asarray((out * self.y_std + self.y_mean).numpy(), np.float64)


def fit_mlp(
    known: Labelled,
    groups: Sequence[slice],
    config: MLPConfig | None = None,
    seed: int = 0,
    common: bool = False,
) -> MLP:
    """Fit a network to all quantities.

    Args:
        known: features, quantities, episodes.
        groups: the targets' columns; every target weighs the same, however many coordinates it has.
        config: how.
        seed: of the weights, the batches and the episodes set aside.
        common: features share a unit (`jepaflow.diagnosis.ridge.deviations`).

    Raises:
        JepaflowError: there are fewer than two episodes.
    """
    config = config or MLPConfig()
    x, y = (torch.from_numpy(np.asarray(part, np.float32)) for part in known[:2])
    aside = torch.from_numpy(_aside(known[2], seed))
    mean, std = x[~aside].mean(0), torch.from_numpy(deviations(x[~aside].numpy(), common))
    middle, spread = y[~aside].mean(0), y[~aside].std(0, correction=0).clamp_min(1e-6)
    x, y = (x - mean) / std, (y - middle) / spread
    generator = torch.Generator().manual_seed(seed)
    network = _network(x.shape[1], config.width, y.shape[1], seed)
    weight = torch.ones(y.shape[1])
    for group in groups:
        weight[group] = 1 / (len(groups) * weight[group].numel())
    states = _train(network, x, y, aside, weight, tuple(groups), config, generator)
    return MLP(network, states, tuple(groups), mean, std, middle, spread)


def _aside(episode: np.ndarray, seed: int) -> np.ndarray:
    episodes = np.unique(episode)
    if len(episodes) < 2:
        raise JepaflowError("An MLP probe cannot be fitted on one episode. Give at least 2.")
    count = max(1, round(ASIDE * len(episodes)))
    return np.isin(episode, np.random.default_rng([seed, 1]).permutation(episodes)[:count])


def _network(inputs: int, width: int, outputs: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden = nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        return nn.Sequential(*hidden, nn.Linear(width, outputs))


def _train(
    network: nn.Sequential,
    x: Float[Tensor, "n D"],
    y: Float[Tensor, "n Q"],
    aside: Bool[Tensor, " n"],
    weight: Float[Tensor, " Q"],
    groups: tuple[slice, ...],
    config: MLPConfig,
    generator: torch.Generator,
) -> tuple[State, ...]:
    """Fit on one part, choose on the other; returns the best state for each group."""
    optimizer = torch.optim.AdamW(network.parameters(), config.lr, weight_decay=config.weight_decay, foreach=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    best, states = [float("inf")] * len(groups), [_copy(network)] * len(groups)
    marks = {round(m) for m in np.linspace(0, config.steps, config.choices + 1)[1:]}
    x_aside, y_aside, x, y = x[aside], y[aside], x[~aside], y[~aside]
    for step in range(1, config.steps + 1):
        rows = torch.randint(len(x), (min(config.batch_size, len(x)),), generator=generator)
        loss = ((network(x[rows]) - y[rows]).square().mean(0) * weight).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step in marks:
            with torch.no_grad():
                errors = (network(x_aside) - y_aside).square().mean(0)
            state: State | None = None
            for i, group in enumerate(groups):
                if (error := float(errors[group].mean())) < best[i]:
                    state = state or _copy(network)
                    best[i], states[i] = error, state
    return tuple(states)


def _copy(network: nn.Module) -> State:
    return {key: value.clone() for key, value in network.state_dict().items()}
