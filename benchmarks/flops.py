"""How much arithmetic a model's work is, counted from its configuration: 2·m·n·k of every matrix product and convolution.

Norms, activations and softmax are left out, as is usual, so a share of a machine's matrix rate is never flattered by
them. `imagined` counts what a plan *needs* when nothing is computed twice (`jepaflow.worldmodel.imagination`), `windowed`
what LeWorldModel's rollout does: every token of the window, in every layer, at every step. The tests compare each with
what PyTorch counts while it runs.
"""

import math

from jepaflow.planning.config import SolverConfig
from jepaflow.worldmodel.distance import DistanceConfig
from jepaflow.worldmodel.inverse import InverseConfig
from jepaflow.worldmodel.jepa import JEPAConfig


def encoded(config: JEPAConfig) -> int:
    """FLOP of encoding one frame of all views, projector included."""
    encoder, channels = config.encoder, 3 * len(config.cameras)
    width = encoder.width
    total = 2 * (width + config.latent_dim) * config.projector_hidden
    if config.proprio_dim:
        total += 2 * width * (config.proprio_dim + width)
    if encoder.kind == "vit":
        patches = (config.image_size // encoder.patch) ** 2
        tokens = patches + 1
        linears = 2 * tokens * (4 + 2 * encoder.mlp_ratio) * width**2
        return total + _stem(config) + encoder.depth * (linears + 4 * tokens**2 * width)
    side, before = config.image_size // 4, channels
    for stage, after in enumerate(encoder.channels):
        side = side if stage == 0 else math.ceil(side / 2)
        total += _stem(config) if stage == 0 else 2 * side**2 * 9 * before * after
        before = after
    total += encoder.blocks * 2 * 2 * side**2 * 9 * before**2
    return total + 2 * before * side**2 * width


def _stem(config: JEPAConfig) -> int:
    """FLOP of the first convolution on one frame."""
    encoder, channels = config.encoder, 3 * len(config.cameras)
    if encoder.kind == "vit":
        return 2 * (config.image_size // encoder.patch) ** 2 * channels * encoder.patch**2 * encoder.width
    return 2 * (config.image_size // 4) ** 2 * channels * 16 * encoder.channels[0]


def _entries(config: JEPAConfig) -> int:
    """Numbers in an action block as the predictor is told it."""
    return config.block * config.action_dim * (2 if config.action_change else 1)


def _told(config: JEPAConfig) -> int:
    """FLOP of embedding one action block."""
    entries, dim = _entries(config), config.latent_dim
    return 2 * (entries**2 + 4 * dim * entries + 4 * dim**2)


def _modulated(config: JEPAConfig) -> int:
    """FLOP of what one action block does to one layer."""
    return 2 * 6 * config.latent_dim**2


def _projected(config: JEPAConfig) -> int:
    """FLOP of one token's queries, keys and values in one layer."""
    return 2 * 3 * config.latent_dim * config.predictor.heads * config.predictor.dim_head


def _advanced(config: JEPAConfig) -> int:
    """FLOP of the rest of one token's layer, without the attention itself."""
    part = config.predictor
    return 2 * config.latent_dim * (part.heads * part.dim_head + 2 * part.mlp)


def _attended(config: JEPAConfig, queries: int, keys: int) -> int:
    """FLOP of scores and mixture of one layer; masked ones are computed too."""
    return 4 * queries * keys * config.predictor.heads * config.predictor.dim_head


def _answered(config: JEPAConfig) -> int:
    """FLOP of projecting one forecast."""
    return 2 * 2 * config.latent_dim * config.projector_hidden


def predicted(config: JEPAConfig, tokens: int) -> int:
    """FLOP of one pass of the predictor over `tokens` latents and their actions, all forecasts projected."""
    token = _modulated(config) + _projected(config) + _advanced(config)
    layer = tokens * token + _attended(config, tokens, tokens)
    return config.predictor.depth * layer + tokens * (_told(config) + _answered(config))


def windowed(config: JEPAConfig, seen: int, steps: int) -> int:
    """FLOP of imagining one plan with a pass over the whole window at each step.

    Args:
        config: the model.
        seen: frames of history.
        steps: blocks imagined.
    """
    return sum(predicted(config, min(seen + step, config.history)) for step in range(steps))


def imagined(config: JEPAConfig, seen: int, steps: int) -> int:
    """FLOP that one plan needs when its history is shared: new tokens alone, until the window slides.

    Args:
        config: the model, one that imagines step by step; where it is told changes of actions, the first block of a window
            is told twice, which is not counted.
        seen: frames of history.
        steps: blocks imagined.
    """
    seen = min(seen, config.history)
    layers, total = config.predictor.depth, 0
    for step in range(steps):
        window = min(seen + step, config.history)
        slid = seen + step > config.history
        new = min(step + 1, window) if slid else 1
        total += layers * new * _projected(config) + ((layers - 1) * new + 1) * _advanced(config)
        total += (layers - 1) * _attended(config, new, window) + _attended(config, 1, window) + _answered(config)
    return total + steps * (_told(config) + layers * _modulated(config))


def _perceptron(inputs: int, hidden: int, outputs: int, depth: int) -> int:
    """FLOP of one pass through a head."""
    return 2 * (inputs * hidden + (depth - 1) * hidden**2 + hidden * outputs)


def answered(inverse: InverseConfig, distance: DistanceConfig) -> int:
    """FLOP of the inverse head's plan for one goal, with the temporal distance that it is told first."""
    dim, plan = inverse.latent_dim, inverse.horizon * inverse.block * inverse.action_dim
    inputs = 3 * dim + inverse.step_dim + (inverse.action_dim if inverse.needs_start else 0)
    far = _perceptron(3 * dim, distance.hidden, distance.cap + 1, distance.depth)
    return far + _perceptron(inputs, inverse.hidden, plan, inverse.depth)


def searched(config: JEPAConfig, search: SolverConfig) -> int:
    """FLOP of a search's plans, all of them imagined from a whole history; what they share is not counted."""
    return search.samples * search.iterations * imagined(config, config.history, search.horizon)


def trained(config: JEPAConfig, batch: int, frames: int, directions: int) -> int:
    """FLOP of a training step without rollout, inverse or grounding losses: forward, and twice that backward.

    Nothing asks for the gradient of pixels, states, actions or SIGReg's directions.

    Args:
        config: the model.
        batch: windows.
        frames: in each.
        directions: of SIGReg.
    """
    history, entries = config.history, _entries(config)
    forward = frames * encoded(config) + predicted(config, history)
    unasked = frames * (_stem(config) + 2 * config.proprio_dim * config.encoder.width) + history * 2 * entries**2
    gaussian = frames * 2 * config.latent_dim * directions
    return batch * (3 * forward - unasked + 2 * gaussian)
