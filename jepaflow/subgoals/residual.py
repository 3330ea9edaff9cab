"""What relative trajectory balance learns: a residual on the prior's next-node logits, zero before training.

The prior is frozen: exact flows towards every goal. The residual sees what the prior cannot: the task's marks, how far a node is
from them, and which of them the walk has met, how long ago and for which share of its way. Its score of a next node is
w . net(query(walk so far, task) + key(next node, task)); w begins at zero, so that the policy begins as the prior, and walks
keep arriving whatever it learns, because the prior's mask stays.

Legend: C tasks, M kinds of marks, N nodes, W walks, L nodes of the longest walk, K most edges, D features, B widest degree.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.exact import Flows, fan
from jepaflow.subgoals.tasks import Tasks, hop_table, nearest_mark
from jepaflow.worldmodel.head_layers import fit_latent_scaler, perceptron
from jepaflow.worldmodel.jepa import Scaler

NEAR = 1.5
"""horizons at which hops are cut off"""


class Prior:
    """Frozen flows as tensors on one device.

    Args:
        flows: towards all goals that tasks name.
        device: where the tensors shall live.
    """

    def __init__(self, flows: Flows, device: str | torch.device = "cpu") -> None:
        self.flows, self.device, self.horizon = flows, torch.device(device), flows.horizon
        edge, exists = fan(flows.graph)
        self.target = torch.from_numpy(np.where(exists, flows.graph.indices[edge], 0)).to(device)
        self.log_weight = self._float(np.where(exists, flows.log_weight[edge], -np.inf))
        self.log_flow = self._float(flows.log_flow)
        self.goals = torch.from_numpy(flows.goals).to(device)
        self.hops = hop_table(flows.graph)

    def _float(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device, torch.float32)

    def log_step(
        self, node: Int[Tensor, " S"], goal: Int[Tensor, " S"], left: Int[Tensor, " S"]
    ) -> Float[Tensor, "S B"]:
        """Log-probabilities of the next edge; -inf where there is none or the goal would be out of reach."""
        flow = self.log_flow[(left - 1)[:, None], goal[:, None], self.target[node]]
        return (self.log_weight[node] + flow).log_softmax(1)


@dataclass(frozen=True)
class ResidualConfig:
    """Sizes of the residual."""

    features: int
    """D"""
    nodes: int
    """N"""
    marks: int
    """M"""
    hidden: int = 64
    learnt: int = 8
    """numbers learnt for every node, beside its features"""
    log_z: bool = False
    """also learn log Z of every task; VarGrad needs none"""

    def __post_init__(self) -> None:
        if min(self.features, self.nodes, self.hidden) < 1 or min(self.marks, self.learnt) < 0:
            raise JepaflowError("The residual's features, nodes and hidden must be at least 1.")


@dataclass(frozen=True, eq=False)
class Seen:
    """Tasks as the residual sees them."""

    start: Int[Tensor, " C"]
    goal: Int[Tensor, " C"]
    """position"""
    end: Int[Tensor, " C"]
    """the goal's node"""
    marks: Bool[Tensor, "C M N"]
    node: Float[Tensor, "C N d"]
    """what is known of a node under a task"""
    log_z: Float[Tensor, " C"]
    """learnt, or zero"""


class Residual(nn.Module):
    """The network."""

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__()
        self.config, h, m = config, config.hidden, config.marks
        self.scaler = Scaler(config.features)
        self.learnt = nn.Parameter(0.1 * torch.randn(config.nodes, config.learnt))
        self.embed = perceptron(config.features + config.learnt + 2 + 2 * m, h, h, 1)
        self.key, self.query = nn.Linear(h, h), perceptron(4 * h + 1 + 3 * m, h, h, 1)
        self.mix, self.score = nn.Linear(h, h), nn.Linear(h, 1, bias=False)
        nn.init.zeros_(self.score.weight)
        self.total = perceptron(3 * h, h, 1, 1) if config.log_z else None
        if self.total is not None:
            last = self.total[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def see(self, prior: Prior, tasks: Tasks) -> Seen:
        """Look at tasks once; walks are then told from one another by `task`, their position."""
        flows, device, span = prior.flows, prior.device, prior.horizon
        end = flows.goals[tasks.goal]
        far = np.concatenate(
            [nearest_mark(prior.hops, tasks.marks), prior.hops[end][:, None], prior.hops[:, tasks.start].T[:, None]], 1
        )
        near = torch.from_numpy(np.minimum(far / span, NEAR)).to(device, torch.float32)
        marks = torch.from_numpy(tasks.marks).to(device)
        features = torch.from_numpy(flows.graph.features).to(device)
        own = torch.cat([self.scaler(features), self.learnt], 1).expand(len(tasks), -1, -1)
        node = self.embed(torch.cat([own, near.mT, marks.mT.to(own.dtype)], 2))
        start, goal, ends = (torch.from_numpy(part).to(device) for part in (tasks.start, tasks.goal, end))
        each = torch.arange(len(tasks), device=device)
        log_z = node.new_zeros(len(tasks))
        if self.total is not None:
            log_z = self.total(torch.cat([node[each, start], node[each, ends], node.mean(1)], 1)).squeeze(1)
        return Seen(start, goal, ends, marks, node, log_z)

    def fit_scaler(self, features: Float[Tensor, "N D"]) -> None:
        """Take mean and deviation of the graph's features."""
        fit_latent_scaler(self.scaler, features)

    def log_steps(
        self, prior: Prior, seen: Seen, walks: Int[Tensor, "W L"], task: Int[Tensor, " W"], last: bool = False
    ) -> tuple[Float[Tensor, "S B"], Float[Tensor, "S B"], Int[Tensor, "S 2"]]:
        """Log-probabilities of the next edge in every state (walk, step) that is left.

        Args:
            prior: frozen.
            seen: tasks.
            walks: padded with -1.
            task: of each walk.
            last: only in each walk's last column.

        Returns:
            the policy's, the prior's, and which walk and step they belong to.
        """
        there = walks >= 0
        node = walks.clamp_min(0)
        own = seen.node[task[:, None], node] * there[:, :, None]
        steps = torch.arange(1, walks.shape[1] + 1, device=walks.device)[None, :, None]
        marks = seen.marks[task[:, None], :, node].to(own.dtype) * there[:, :, None]
        met = marks.cummax(1).values
        summary = torch.cat([met, met.cumsum(1) / prior.horizon, marks.cumsum(1) / steps], 2)
        mean = own.cumsum(1) / steps
        leaves = there & (walks != seen.end[task][:, None])
        if last:
            leaves = leaves & (torch.arange(walks.shape[1], device=walks.device) == walks.shape[1] - 1)
        walk, step = leaves.nonzero(as_tuple=True)
        here, what, left = node[walk, step], task[walk], prior.horizon - step
        before = own[walk, (step - 1).clamp_min(0)]
        told = torch.cat(
            [
                own[walk, step],
                before,
                seen.node[what, seen.end[what]],
                mean[walk, step],
                left[:, None] / prior.horizon,
                summary[walk, step],
            ],
            1,
        )
        base = prior.log_step(here, seen.goal[what], left)
        key = self.key(seen.node)[what[:, None], prior.target[here]]
        joined = nn.functional.gelu(self.query(told)[:, None] + key)
        score = self.score(nn.functional.gelu(self.mix(joined))).squeeze(2)
        policy = (base + score).log_softmax(1)
        return policy, base, torch.stack([walk, step], 1)
