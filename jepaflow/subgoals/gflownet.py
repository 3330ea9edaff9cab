"""Training a GFlowNet over walks, off-policy, by any of the classical losses.

A walk from start to goal is a tree object (one way to make it), so the backward policy is 1. The policy looks ahead:
its logits are log P_ref - beta cost + log F(next, left - 1). Then the (forward-looking) detailed-balance residual is the same for
every edge of a state, the soft Bellman residual

    delta(state) = log F(state) - logsumexp over its edges of the logits,

and all other losses are sums of it along walks: trajectory balance squares the sum over the walk, sub-trajectory balance
those over its parts, VarGrad takes their variance within a group of one start and goal. One code serves table and network.

Legend: G goals of a batch, W walks of each, K most edges, K1 = K + 1, N nodes, M widest degree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.flow_models import FlowModel
from jepaflow.subgoals.towards import Towards
from jepaflow.training.fitting import FitConfig, fit

Loss = Literal["db", "tb", "subtb", "vargrad"]


@dataclass(frozen=True)
class GFlowNetConfig:
    """How the flows are trained."""

    loss: Loss = "db"
    """db: detailed balance on all edges of visited states (least variance)"""
    steps: int = 3000
    goals: int = 8
    """goals in a step"""
    walks: int = 32
    """walks to each of them"""
    lr: float = 2e-3
    clip: float = 10.0
    weight_decay: float = 0.0
    explore: float = 0.1
    """share of the edges of forward walks drawn uniformly from those that still arrive"""
    temper: float = 1.5
    """temperature of forward walks"""
    backward: float = 0.25
    """share of walks drawn backwards from the goal (none with vargrad, whose groups share a start)"""
    group: int = 8
    """walks of one start, with vargrad"""
    decay: float = 0.9
    """subtb's lambda"""
    betas: tuple[float, float] = (1.0, 1.0)
    """range of inverse temperatures, drawn log-uniformly for each goal"""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.goals, self.walks, self.group) < 1 or self.lr <= 0 or self.temper <= 0:
            raise JepaflowError(
                "The GFlowNet's steps, goals, walks and group must be at least 1, lr and temper positive."
            )
        if not (0 <= self.explore <= 1 and 0 <= self.backward <= 1 and 0 < self.decay <= 1):
            raise JepaflowError(
                "The GFlowNet's explore and backward are shares (0 … 1), decay is above 0 and at most 1."
            )
        if not 0 < self.betas[0] <= self.betas[1] < float("inf"):
            raise JepaflowError("The GFlowNet's betas are two positive numbers, the smaller one first.")
        if self.seed < 0 or self.clip <= 0 or self.weight_decay < 0:
            raise JepaflowError("The GFlowNet's seed and weight_decay must not be negative, and clip must be positive.")
        if self.loss == "vargrad" and (self.group < 2 or self.walks % self.group):
            raise JepaflowError("With vargrad, walks must be a multiple of group, and group at least 2.")


def next_logits(
    goals: Towards, flow: Float[Tensor, "G N K1"], goal: Tensor, node: Tensor, left: Tensor
) -> Float[Tensor, "S M"]:
    """Logits of the policy's next edge in states (goal's position, node, edges left >= 1), each (S,)."""
    after = flow[goal[:, None], goals.target[node], (left - 1)[:, None]]
    return goals.log_ref[node] - goals.beta[goal, None] * goals.cost[node] + after


def forward_walks(
    goals: Towards,
    flow: Float[Tensor, "G N K1"],
    start: Int[Tensor, "G W"],
    config: GFlowNetConfig,
    generator: torch.Generator,
) -> Int[Tensor, "G W K1"]:
    """Walk by the policy, tempered and with some uniform edges; -1 after the goal. Every start must be in reach."""
    horizon = flow.shape[2] - 1
    walks = torch.full((*start.shape, horizon + 1), -1, device=start.device)
    walks[:, :, 0] = start
    for step in range(horizon):
        here = walks[:, :, step]
        goal, walk = torch.nonzero((here >= 0) & (here != goals.goals[:, None]), as_tuple=True)
        if not len(goal):
            break
        node = here[goal, walk]
        logits = next_logits(goals, flow, goal, node, torch.full_like(goal, horizon - step))
        chance = (logits / config.temper).softmax(1)
        uniform = logits.isfinite().to(chance.dtype)
        chance = chance.lerp(uniform / uniform.sum(1, keepdim=True), config.explore)
        pick = torch.multinomial(chance, 1, generator=generator)
        walks[goal, walk, step + 1] = goals.target[node].gather(1, pick).squeeze(1)
    return walks


def backward_walks(goals: Towards, count: int, horizon: int, generator: torch.Generator) -> Int[Tensor, "G W K1"]:
    """Walk backwards from the goals, uniformly, for 1 … K edges; the result reads forwards. A goal without edges into it is alone."""
    shape, device = (len(goals.goals), count), goals.goals.device
    length = torch.randint(1, horizon + 1, shape, generator=generator, device=device)
    here = goals.goals[:, None].expand(shape)
    backwards = [here]
    for step in range(horizon):
        before = goals.before[here.clamp_min(0)]
        # The goal is met once only: no walk passes it on the way.
        chance = ((before >= 0) & (before != goals.goals[:, None, None])).to(goals.cost.dtype)
        going = (here >= 0) & (step < length) & (chance.sum(2) > 0)
        chance[~going] = 1.0
        pick = torch.multinomial(chance.flatten(0, 1), 1, generator=generator).view(*shape, 1)
        here = torch.where(going, before.gather(2, pick).squeeze(2), -1)
        backwards.append(here)
    walks = torch.stack(backwards, 2).flip(2)
    # Left-align: walks of L edges now have their K - L places of padding in front.
    shift = (walks < 0).sum(2, keepdim=True)
    place = (torch.arange(horizon + 1, device=walks.device) + shift).clamp_max(horizon)
    kept = torch.arange(horizon + 1, device=walks.device) + shift <= horizon
    return torch.where(kept, walks.gather(2, place), -1)


def residuals(
    goals: Towards, flow: Float[Tensor, "G N K1"], walks: Int[Tensor, "G W K1"]
) -> tuple[Float[Tensor, "G W K"], Bool[Tensor, "G W K"]]:
    """The residual delta of each state that a walk leaves, 0 elsewhere; and where there is one."""
    horizon = flow.shape[2] - 1
    here = walks[:, :, :-1]
    leaves = (here >= 0) & (here != goals.goals[:, None, None])
    goal, walk, step = torch.nonzero(leaves, as_tuple=True)
    node, left = here[goal, walk, step], horizon - step
    delta = flow[goal, node, left] - next_logits(goals, flow, goal, node, left).logsumexp(1)
    return flow.new_zeros(here.shape).index_put((goal, walk, step), delta), leaves


def walk_loss(
    delta: Float[Tensor, "G W K"], leaves: Bool[Tensor, "G W K"], config: GFlowNetConfig
) -> Float[Tensor, ""]:
    """Turn residuals into the loss asked for."""
    lengths = leaves.sum(2)
    match config.loss:
        case "db":
            return delta.square().sum() / leaves.sum().clamp_min(1)
        case "tb":
            return delta.sum(2).square().mean()
        case "vargrad":
            return delta.sum(2).view(len(delta), -1, config.group).var(2).mean()
        case "subtb":
            sums = nn.functional.pad(delta.cumsum(2), (1, 0))
            steps = torch.arange(sums.shape[2], device=delta.device)
            gap = steps[None] - steps[:, None]
            inside = (gap > 0) & (steps <= lengths[:, :, None, None])
            weight = torch.where(inside, config.decay ** gap.clamp_min(0), 0.0)
            parts = (sums[:, :, None, :] - sums[:, :, :, None]).square()
            return ((weight * parts).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1e-9)).mean()


def batch_loss(
    model: FlowModel,
    goals: Towards,
    config: GFlowNetConfig,
    generator: torch.Generator,
    starts: Bool[Tensor, " N"] | None = None,
) -> Tensor:
    """Loss of one batch: walks are drawn from the policy as it is, and from the goals backwards.

    Args:
        model: log-flows of the goals.
        goals: of this batch.
        config: see there.
        generator: source of chance.
        starts: nodes that forward walks begin at; None = all.
    """
    flow = model(goals)
    horizon = flow.shape[2] - 1
    with torch.no_grad():
        backward = 0 if config.loss == "vargrad" else round(config.backward * config.walks)
        reach = ((goals.hops > 0) & (goals.hops <= horizon)).to(flow.dtype)
        reach = reach if starts is None else reach * starts
        groups = (config.walks - backward) // (config.group if config.loss == "vargrad" else 1)
        start = torch.multinomial(reach, groups, replacement=True, generator=generator)
        if config.loss == "vargrad":
            start = start.repeat_interleave(config.group, 1)
        walks = forward_walks(goals, flow, start, config, generator)
        if backward:
            walks = torch.cat([walks, backward_walks(goals, backward, horizon, generator)], 1)
    return walk_loss(*residuals(goals, flow, walks), config)


def train(
    model: FlowModel,
    worlds: Sequence[Towards],
    config: GFlowNetConfig,
    partial: Path | None = None,
    about: str = "",
    starts: Bool[Tensor, " N"] | None = None,
) -> None:
    """Fit flows to all goals of all graphs given, in place.

    Args:
        model: `TableFlow` or `NeuralFlow`, on the device of the goals.
        worlds: training goals, one entry per graph; one is taken per step, in turn.
        config: see there.
        partial: where an unfinished training is kept, and looked for.
        about: what the training is; one that was about something else is not continued.
        starts: nodes that forward walks begin at; goals that none of them reaches are left out; None = all.

    Raises:
        JepaflowError: no goal can be reached from anywhere; or the training diverges.
    """
    usable = [
        ((w.hops > 0) & (w.hops <= model.horizon) & (True if starts is None else starts)).any(1).nonzero().squeeze(1)
        for w in worlds
    ]
    if not worlds or any(not len(u) for u in usable):
        raise JepaflowError(
            f"No training goal can be reached within {model.horizon} edges. Raise the horizon or add edges."
        )
    low, high = (torch.tensor(beta).log() for beta in config.betas)

    def loss(step: int) -> Tensor:
        world, some = worlds[step % len(worlds)], usable[step % len(worlds)]
        generator = torch.Generator(world.beta.device).manual_seed(config.seed * 1_000_003 + step)
        shape, device = (config.goals,), world.beta.device
        which = some[torch.randint(len(some), shape, generator=generator, device=device)]
        beta = (low + (high - low) * torch.rand(shape, generator=generator, device=device)).exp()
        return batch_loss(model, world.some(which, beta), config, generator, starts)

    fit(model, loss, FitConfig(config.steps, config.lr, config.weight_decay, config.clip), "GFlowNet", partial, about)
