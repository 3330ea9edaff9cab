"""Goals on a graph as the GFlowNet sees them: padded neighbours, hops, distances and beta, as tensors on one device.

The hop-distance mask lives here: with `left` edges left only nodes within that many hops of the goal are open, so every
walk of the policy arrives, trained or not.

Legend: N nodes, M widest degree, I most edges into a node, G goals, K1 = K + 1 numbers of edges left (0 … K).
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from jepaflow.subgoals.exact import fan
from jepaflow.subgoals.graph import FAR, Graph
from jepaflow.subgoals.shortest import distances

Hint = Literal["none", "hops", "distance"]
"""what is told about the way to a goal beside features: nothing, the fewest edges, the best single way (its cost and chance)"""
ODD = 8.0
"""nats from the usual at which surroundings are cut off; a dead end has no walks at all"""


@dataclass(frozen=True, eq=False)
class Towards:
    """Some goals on one graph."""

    target: Int[Tensor, "N M"]
    """neighbours; padding points at node 0"""
    log_ref: Float[Tensor, "N M"]
    """of the reference walk; -inf in the padding"""
    cost: Float[Tensor, "N M"]
    before: Int[Tensor, "N I"]
    """nodes from which an edge leads here, padded with -1"""
    features: Float[Tensor, "N D"]
    goals: Int[Tensor, " G"]
    hops: Int[Tensor, "G N"]
    """`FAR` where there is no way"""
    distance: Float[Tensor, "G N"]
    """lowest cost to the goal, in model steps; 0 where there is no way"""
    chance: Float[Tensor, "G N"]
    """nats that the reference walk pays on the likeliest way at beta = 1; 0 where there is no way"""
    beta: Float[Tensor, " G"]
    detour: float
    """mean entropy of the reference walk at a node: what an edge costs in nats at beta = 0"""
    typical: float
    """mean cost of an edge"""

    @property
    def nodes(self) -> int:
        """N."""
        return len(self.features)

    @property
    def log_weight(self) -> Float[Tensor, "G N M"]:
        """log P_ref - beta cost; -inf in the padding."""
        return self.log_ref - self.beta[:, None, None] * self.cost

    def open_(self, horizon: int) -> Bool[Tensor, "G N K1"]:
        """Whether the goal can be reached from a node with 0 … K edges left."""
        return self.hops[:, :, None] <= torch.arange(horizon + 1, device=self.hops.device)

    def closed(self, raw: Float[Tensor, "G N K1"]) -> Float[Tensor, "G N K1"]:
        """Put what is known into log-flows: 0 at the goal, -inf out of reach."""
        flow = raw.masked_fill((self.hops == 0)[:, :, None], 0.0)
        return flow.masked_fill(~self.open_(raw.shape[2] - 1), -torch.inf)

    def ahead(self, flow: Float[Tensor, "G N K1"]) -> Float[Tensor, "G N K1"]:
        """Log-flows as they are one edge further on: sums over the edges of each node of their weight times the flow behind them."""
        after = self.log_weight[:, :, :, None] + flow[:, self.target, :-1]
        dead = after.isneginf().all(2)
        # A row of -inf has no gradient: it is summed over zeros, and closed again.
        summed = after.masked_fill(dead[:, :, None], 0.0).logsumexp(2).masked_fill(dead, -torch.inf)
        return self.closed(torch.cat([flow[:, :, :1], summed], 2))

    def guess(self, hint: Hint) -> Float[Tensor, "G N"]:
        """Log-flow as far as a hint tells: 0, or what the hops or the cheapest way cost; 0 where there is no way."""
        hops = self.hops.where(self.hops < FAR, 0).to(self.cost.dtype)
        match hint:
            case "none":
                return torch.zeros_like(hops)
            case "hops":
                return -hops * (self.detour + self.beta[:, None] * self.typical)
            case "distance":
                return -self.chance - self.beta[:, None] * self.distance

    def surroundings(self, depth: int) -> tuple[Float[Tensor, "G N depth"], Float[Tensor, "G depth"]]:
        """How easily a node is left and a goal is entered: log of the weight of all walks of 1 … `depth` edges that begin at each
        node, and that end at each goal, beside what as many typical edges weigh, within ± `ODD`.
        """
        weight = self.log_weight.exp()
        out = inwards = torch.ones_like(self.distance)
        place = self.target.flatten().expand(len(self.goals), -1)
        leaving, entering = [], []
        for step in range(1, depth + 1):
            out = (weight * out[:, self.target]).sum(2)
            inwards = torch.zeros_like(out).scatter_add_(1, place, (weight * inwards[:, :, None]).flatten(1))
            usual = step * self.beta[:, None] * self.typical
            leaving.append((out.log() + usual).clamp(-ODD, ODD))
            entering.append((inwards.gather(1, self.goals[:, None]).log() + usual).clamp(-ODD, ODD).squeeze(1))
        return torch.stack(leaving, 2), torch.stack(entering, 1)

    def some(self, which: Int[Tensor, " g"], beta: Float[Tensor, " g"]) -> "Towards":
        """Choose goals by position, at inverse temperatures of their own."""
        chosen = {name: getattr(self, name)[which] for name in ("goals", "hops", "distance", "chance")}
        return replace(self, beta=beta, **chosen)


def towards(graph: Graph, goals: np.ndarray, beta: float = 1.0, device: str | torch.device = "cpu") -> Towards:
    """Prepare goals for the GFlowNet.

    Args:
        graph: the landmarks.
        goals: nodes (G,).
        beta: inverse temperature, per unit of cost.
        device: where the tensors shall live.

    Raises:
        JepaflowError: a goal is no node.
    """
    edge, exists = fan(graph)

    def tensor(values: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device, dtype)

    def spread(values: np.ndarray, padding: float, dtype: torch.dtype = torch.float32) -> Tensor:
        return tensor(np.where(exists, values[edge] if graph.edges else padding, padding), dtype)

    hops, distance = graph.hops(goals), distances(graph, goals)
    chance = distances(graph, goals, graph.cost - graph.log_ref)
    chance[hops < FAR] -= distance[hops < FAR]
    entropy = -(np.exp(graph.log_ref) * graph.log_ref).sum() / max(1, int((graph.degree > 0).sum()))
    return Towards(
        target=spread(graph.indices, 0.0, torch.int64),
        log_ref=spread(graph.log_ref, -np.inf),
        cost=spread(graph.cost, 0.0),
        before=tensor(_before(graph), torch.int64),
        features=tensor(graph.features, torch.float32),
        goals=tensor(goals, torch.int64),
        hops=tensor(hops, torch.int64),
        distance=tensor(np.where(hops < FAR, distance, 0), torch.float32),
        chance=tensor(np.where(hops < FAR, chance, 0), torch.float32),
        beta=torch.full((len(goals),), float(beta), device=device),
        detour=float(entropy),
        typical=float(graph.cost.mean()) if graph.edges else 1.0,
    )


def _before(graph: Graph) -> Int[np.ndarray, "N I"]:
    """Sources of the edges into each node, padded with -1."""
    counts = np.bincount(graph.indices, minlength=graph.nodes)
    slot = np.arange(max(1, int(counts.max(initial=0))))
    before = np.full((graph.nodes, len(slot)), -1, np.int64)
    before[slot < counts[:, None]] = graph.source[np.argsort(graph.indices, kind="stable")]
    return before
