"""Relative trajectory balance: turn an exact sampler of plans into one of *good* plans, for rewards of whole walks.

The posterior is p(x) r(x)^beta / Z. Its policy is the frozen prior plus a residual, trained so that

    log Z + log p_phi(x) - log p(x) - beta log r(x) = 0

for every walk (arXiv 2405.20971). Any walks will do for that: half are the prior's, half the policy's own. log Z is the mean of a
task's batch (VarGrad) or a network's. What made it train: the penalty is turned on gradually, log r has a floor, and large
residuals count linearly (Huber). The prior's walks are a fixed pool and rewards are remembered, since a reward may cost a
chain of imagination: `Counted.evaluations` is what was paid.

Legend: C tasks of a batch, W walks, L nodes of the longest, K most edges.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.residual import Prior, Residual, Seen
from jepaflow.subgoals.rewards import Counted
from jepaflow.subgoals.tasks import Tasks
from jepaflow.subgoals.walks import Walks
from jepaflow.training.fitting import FitConfig, fit


@dataclass(frozen=True)
class RTBConfig:
    """How the residual is trained."""

    steps: int = 600
    tasks: int = 16
    """in a step"""
    walks: int = 16
    """of each of them"""
    prior_share: float = 0.5
    """of a task's walks that the prior draws"""
    pool: int = 64
    """walks that the prior has drawn for each task, once"""
    beta: float = 1.0
    """power of the reward"""
    anneal: float = 0.4
    """share of the steps in which beta grows to what it is"""
    floor: float = 12.0
    """least log r, below 0"""
    huber: float = 3.0
    """residual from which it counts linearly, in nats"""
    explore: float = 0.05
    """share of steps of the policy's own walks that the prior takes"""
    lr: float = 5e-3
    clip: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.tasks, self.pool) < 1 or self.walks < 2 or min(self.lr, self.beta, self.huber) <= 0:
            raise JepaflowError("RTB's steps, tasks and pool must be at least 1, walks 2, lr, beta and huber positive.")
        if not (0 <= self.prior_share <= 1 and 0 <= self.anneal <= 1 and 0 <= self.explore <= 1) or self.floor <= 0:
            raise JepaflowError(
                "RTB's prior_share, anneal and explore are shares (0 … 1), and the floor is a positive depth."
            )


class Posterior:
    """A sampler of plans: prior plus residual.

    Args:
        prior: frozen.
        residual: on the prior's device.
    """

    def __init__(self, prior: Prior, residual: Residual) -> None:
        self.prior, self.residual = prior, residual

    @torch.no_grad()
    def sample(self, tasks: Tasks, task: Int[ndarray, " W"], rng: np.random.Generator) -> Walks:
        """Draw a walk for each task named; every start must reach its goal."""
        generator = torch.Generator(self.prior.device).manual_seed(int(rng.integers(2**62)))
        seen = self.residual.see(self.prior, tasks)
        chosen = torch.from_numpy(task).to(self.prior.device)
        return Walks(self._walk(seen, chosen, 0.0, generator).cpu().numpy())

    @torch.no_grad()
    def log_prob(self, walks: Walks, tasks: Tasks, task: Int[ndarray, " W"]) -> Float[ndarray, " W"]:
        """Log-probability of walks to their task's goal."""
        seen = self.residual.see(self.prior, tasks)
        parts = [np.empty(0)]
        for some in np.array_split(np.arange(len(walks)), max(1, len(walks) // 1024)):
            rows, of = (torch.from_numpy(values[some]).to(self.prior.device) for values in (walks.nodes, task))
            parts.append(self._log(seen, rows, of)[0].cpu().numpy().astype(np.float64))
        return np.concatenate(parts)

    def log_z(
        self, reward: Counted, task: Int[ndarray, " C"], walks: int, rng: np.random.Generator
    ) -> tuple[Float[ndarray, " C"], Float[ndarray, " C"]]:
        """Estimate log E_prior[r] of tasks from the policy's own walks: the plain mean of log weights (which is what balance
        says, a lower bound), and log of the mean weight (importance sampling).
        """
        which = np.repeat(task, walks)
        drawn = self.sample(reward.tasks, which, rng)
        base = self.prior.flows.log_prob(drawn, reward.tasks.goal[which])
        weight = base + reward.log(drawn, which) - self.log_prob(drawn, reward.tasks, which)
        weight = weight.reshape(len(task), walks)
        return weight.mean(1), np.logaddexp.reduce(weight, 1) - np.log(walks)

    def _walk(self, seen: Seen, task: Tensor, explore: float, generator: torch.Generator) -> Int[Tensor, "W L"]:
        """Walk by the policy; some steps by the prior."""
        walks = torch.full((len(task), self.prior.horizon + 1), -1, device=task.device)
        walks[:, 0] = seen.start[task]
        for step in range(self.prior.horizon):
            policy, base, where = self.residual.log_steps(self.prior, seen, walks[:, : step + 1], task, last=True)
            if not len(where):
                break
            chance = policy.exp().lerp(base.exp(), explore)
            pick = torch.multinomial(chance, 1, generator=generator)
            here = walks[where[:, 0], step]
            walks[where[:, 0], step + 1] = self.prior.target[here].gather(1, pick).squeeze(1)
        return walks

    def _log(
        self, seen: Seen, walks: Int[Tensor, "W L"], task: Int[Tensor, " W"]
    ) -> tuple[Float[Tensor, " W"], Float[Tensor, " W"]]:
        """Log-probability of walks under policy and prior."""
        policy, base, where = self.residual.log_steps(self.prior, seen, walks, task)
        walk, step = where.unbind(1)
        taken = self.prior.target[walks[walk, step]] == walks[walk, step + 1][:, None]
        # Padding points at node 0 too; it has no chance, and must not be counted beside the real edge.
        taken = taken & base.isfinite()
        zero = policy.new_zeros(len(walks))
        return tuple(zero.index_add(0, walk, log_p.masked_fill(~taken, 0.0).sum(1)) for log_p in (policy, base))  # type: ignore[return-value]


def train_rtb(
    posterior: Posterior, reward: Counted, config: RTBConfig, partial: Path | None = None, about: str = ""
) -> None:
    """Fit the residual to the tasks of a reward, in place.

    Args:
        posterior: its residual is fitted.
        reward: with the training tasks; keeps count of what it was asked.
        config: see there.
        partial: where an unfinished training is kept, and looked for.
        about: what the training is.

    Raises:
        JepaflowError: the training diverges.
    """
    pool = _pool(posterior.prior, reward.tasks, config)
    of_prior = round(config.prior_share * config.walks)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng((config.seed, step))
        which = rng.choice(len(reward.tasks), config.tasks, replace=len(reward.tasks) < config.tasks)
        return _loss(
            posterior,
            reward,
            config,
            which,
            pool[which[:, None], rng.integers(config.pool, size=(config.tasks, of_prior))],
            step,
        )

    fit(posterior.residual, loss, FitConfig(config.steps, config.lr, 0.0, config.clip), "RTB", partial, about)


def _pool(prior: Prior, tasks: Tasks, config: RTBConfig) -> Int[ndarray, "C pool L"]:
    each = tasks.repeated(config.pool)[1]
    drawn = prior.flows.sample(each.start, each.goal, np.random.default_rng((config.seed, 2**31)))
    return drawn.nodes.reshape(len(tasks), config.pool, -1)


def _loss(
    posterior: Posterior, reward: Counted, config: RTBConfig, which: ndarray, drawn: Int[ndarray, "C w L"], step: int
) -> Tensor:
    """Loss of one batch: walks of the prior as given, and the policy's own."""
    prior, device = posterior.prior, posterior.prior.device
    seen = posterior.residual.see(prior, reward.tasks.some(which))
    own = config.walks - drawn.shape[1]
    task = torch.arange(len(which), device=device).repeat_interleave(own)
    generator = torch.Generator(device).manual_seed(config.seed * 1_000_003 + step)
    with torch.no_grad():
        fresh = posterior._walk(seen, task, config.explore, generator).view(len(which), own, -1)
    walks = torch.cat([torch.from_numpy(drawn).to(device), fresh], 1).flatten(0, 1)
    log_r = reward.log(Walks(walks.cpu().numpy()), np.repeat(which, config.walks))
    share = min(1.0, (step + 1) / max(1.0, config.anneal * config.steps))
    tilt = share * config.beta * np.maximum(log_r, -config.floor)
    ours, base = posterior._log(seen, walks, torch.arange(len(which), device=device).repeat_interleave(config.walks))
    gap = (ours - base - torch.from_numpy(tilt).to(ours)).view(len(which), -1)
    known = seen.log_z[:, None] if posterior.residual.total is not None else -gap.mean(1, keepdim=True)
    return torch.nn.functional.huber_loss(gap + known, torch.zeros_like(gap), delta=config.huber)
