"""What a GFlowNet learns: the log-flow through every (node, edges left), given goal and beta.

The edges left are an output, not an input: one pass through the network answers for 0 … K at once, which makes training
K times as cheap. The log-flow is measured in "nats per typical edge", entropy of the reference walk plus beta times its mean
cost; so it has a sane limit at beta = 0 and grows like beta x distance, as the exact one does. `hint` says what the network starts
from: nothing, hops to the goal (the mask needs them anyway), or what the best single way weighs; hints come from the graph as it
is *now*, so that a blocked edge is seen without training. On top, `ahead` edges are summed exactly, as the oracle would: with few of
them the network is a look-ahead search's value function, with K of them it is not needed.

Legend: D features, P pairs of node and goal, N nodes, G goals, K1 = K + 1.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.subgoals.towards import Hint, Towards
from jepaflow.worldmodel.head_layers import fit_latent_scaler, perceptron
from jepaflow.worldmodel.jepa import Scaler


class FlowModel(nn.Module):
    """What losses, sampler and comparison with the oracle need: called on goals, it gives log-flows (G N K1)."""

    horizon: int
    """K, most edges of a walk"""


class TableFlow(FlowModel):
    """A free number for every goal, node and edges left, beside the hops' guess: what can be learnt at all, at one beta."""

    def __init__(self, nodes: int, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon
        self.table = nn.Parameter(torch.zeros(nodes, nodes, horizon + 1))

    def forward(self, goals: Towards) -> Float[Tensor, "G N K1"]:
        """Look the flows up."""
        return goals.closed(self.table[goals.goals] + goals.guess("hops")[:, :, None])


@dataclass(frozen=True)
class FlowConfig:
    """Sizes of the network."""

    features: int
    """D"""
    horizon: int
    """K, most edges of a walk"""
    hidden: int = 256
    depth: int = 3
    fourier: int = 0
    """random Fourier features; for a few coordinates, not for latents"""
    surroundings: int = 3
    """edges around node and goal whose weights the network is told: features do not say how many ways lead into a goal"""
    hint: Hint = "distance"
    ahead: int = 2
    """edges that the network looks ahead exactly: 0 is the network alone, K would be the oracle. What a node's next few edges are
    like is known to the graph and hard to learn; the network is left with what lies beyond"""

    def __post_init__(self) -> None:
        if (
            min(self.features, self.horizon, self.hidden, self.depth) < 1
            or min(self.fourier, self.surroundings, self.ahead) < 0
        ):
            raise JepaflowError("The flow network's features, horizon, hidden and depth must be at least 1.")


class NeuralFlow(FlowModel):
    """The network on features of node and goal: new goals and re-built graphs need no new weights."""

    waves: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config, self.horizon = config, config.horizon
        self.scaler = Scaler(config.features)
        self.register_buffer("waves", 2 * torch.randn(config.features, config.fourier))
        width = config.features + 2 * config.fourier
        self.net = perceptron(3 * width + 4 + 2 * config.surroundings, config.hidden, config.horizon + 1, config.depth)
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)

    def fit_scaler(self, features: Float[Tensor, "n D"]) -> None:
        """Take mean and deviation of the features from a graph."""
        fit_latent_scaler(self.scaler, features)

    def seen(self, features: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch d"]:
        """Scaled features, with waves where there are some."""
        z: Tensor = self.scaler(features)
        phase = z @ self.waves
        return torch.cat([z, phase.sin(), phase.cos()], -1)

    def pairs(
        self, node: Float[Tensor, "P d"], goal: Float[Tensor, "P d"], told: Float[Tensor, "P t"]
    ) -> Float[Tensor, "P K1"]:
        """Correction to the hint, in typical edges, for seen features of nodes and goals and what is `told` of the graph."""
        out: Tensor = self.net(torch.cat([node, goal, node - goal, told], -1))
        return out

    def told(self, goals: Towards, edges: Float[Tensor, "G N"]) -> Float[Tensor, "G N t"]:
        """The hint in typical edges, beta, and the surroundings of node and goal."""
        beta = goals.beta[:, None].expand_as(edges)
        parts = [torch.stack([edges / 10, (1 + edges).log(), beta.log1p(), 1 / (1 + beta)], -1)]
        if self.config.surroundings:
            leaving, entering = goals.surroundings(self.config.surroundings)
            parts += [leaving, entering[:, None].expand_as(leaving)]
        return torch.cat(parts, -1)

    def forward(self, goals: Towards) -> Float[Tensor, "G N K1"]:
        """Log-flows of every node."""
        seen = self.seen(goals.features)
        shape = (len(goals.goals), goals.nodes, seen.shape[-1])
        guess = goals.guess(self.config.hint)
        unit = goals.detour + goals.beta[:, None] * goals.typical
        raw = self.pairs(
            seen.expand(shape).flatten(0, 1),
            seen[goals.goals][:, None].expand(shape).flatten(0, 1),
            self.told(goals, -guess / unit).flatten(0, 1),
        ).view(*shape[:2], -1)
        flow = goals.closed(unit[:, :, None] * raw + guess[:, :, None])
        for _ in range(self.config.ahead):
            flow = goals.ahead(flow)
        return flow


def save_flow(path: Path, model: NeuralFlow) -> None:
    """Write weights and sizes as safetensors, whole or not at all."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"config": json.dumps(asdict(model.config))})


def load_flow(path: Path) -> NeuralFlow:
    """Read what `save_flow` wrote, in eval mode.

    Raises:
        JepaflowError: the file is missing, damaged or something else.
    """
    try:
        with safe_open(path, "pt") as file:
            model = NeuralFlow(FlowConfig(**json.loads((file.metadata() or {})["config"])))
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (no mapping)
    except FileNotFoundError as error:
        raise JepaflowError(f"{path} does not exist. Check the path.") from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise JepaflowError(f"{path} is damaged, or no flow network ({error}). Fit it anew.") from error
    return model.eval()
