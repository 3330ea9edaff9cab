"""Goal-conditioned inverse dynamics: two frozen latents → the actions that lead from one towards the other.

The idea is GC-IDM's (arXiv 2605.08732): a small perceptron, trained on hindsight goals of the same episode, acts at a
hundredth of a search's price; here it also proposes plans to a search. It answers with N blocks at once, in z-scores per
control step. For absolute joint targets (``change``) the answer is the displacement from the last executed
action, so that a plan starts where the arm is. The mean is deterministic; the covariance of its residuals over all
steps of a plan, measured on episodes that the head was not fitted to, makes diverse and smooth proposals.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.worldmodel.head_layers import fit_latent_scaler, perceptron, require_positive
from jepaflow.worldmodel.jepa import Scaler


@dataclass(frozen=True)
class InverseConfig:
    """Sizes of the head and what it answers with."""

    latent_dim: int
    """D"""
    action_dim: int
    """A"""
    block: int
    """K, control steps in a model step"""
    horizon: int = 5
    """N, blocks answered at once"""
    reach: int = 20
    """the furthest goal of the training, in model steps; goals further away count as this far"""
    change: bool = False
    """answer with displacements from the last executed action (absolute targets), not with the actions themselves"""
    last_action: bool = False
    """tell the head the last executed action, as one that answers with changes always is"""
    hidden: int = 256
    depth: int = 3
    step_dim: int = 32
    """size of the embedding of the steps to go"""

    def __post_init__(self) -> None:
        flags = ("change", "last_action")
        require_positive("inverse head", **{name: size for name, size in self.__dict__.items() if name not in flags})

    @property
    def needs_start(self) -> bool:
        """Whether the last executed action is an input."""
        return self.change or self.last_action

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "InverseConfig":
        """Rebuild from the JSON of ``dataclasses.asdict``."""
        return cls(**values)


class InverseDynamics(nn.Module):
    """The head. Actions enter and leave in the units of the dataset."""

    residual: Tensor
    rest: Tensor

    def __init__(self, config: InverseConfig) -> None:
        super().__init__()
        self.config = config
        dim, plan = config.latent_dim, config.horizon * config.block * config.action_dim
        self.latent_scaler = Scaler(dim)
        self.start_scaler = Scaler(config.action_dim)
        self.answer_scaler = Scaler(plan)
        self.steps = nn.Embedding(config.reach + 1, config.step_dim)
        inputs = 3 * dim + config.step_dim + (config.action_dim if config.needs_start else 0)
        self.net = perceptron(inputs, config.hidden, plan, config.depth)
        self.register_buffer("residual", torch.zeros(plan, plan))
        self.register_buffer("rest", torch.zeros(config.action_dim))

    def forward(
        self,
        z: Float[Tensor, "B D"],
        goal: Float[Tensor, "B D"],
        steps: Int[Tensor, " B"] | None,
        start: Float[Tensor, "B A"] | None,
    ) -> Float[Tensor, "B NKA"]:
        """Answer in z-scores.

        Args:
            z, goal: latents now and wanted.
            steps: model steps to go, clipped to 1 … ``reach``; 0 or None = unknown.
            start: the last executed action; needed exactly when `InverseConfig.needs_start`.

        Raises:
            JepaflowError: when ``start`` is missing.
        """
        now, then = self.latent_scaler(z), self.latent_scaler(goal)
        to_go = torch.zeros(len(z), dtype=torch.long, device=z.device) if steps is None else steps.long()
        parts = [now, then, then - now, self.steps(to_go.clamp(0, self.config.reach))]
        if self.config.needs_start:
            parts.append(self.start_scaler(self._required(start)))
        answer: Tensor = self.net(torch.cat(parts, -1))
        return answer

    def _required(self, start: Tensor | None) -> Tensor:
        if start is None:
            raise JepaflowError(
                "This inverse head was trained with the last executed action: give it that action "
                "(at the beginning of an episode, the arm's own position)."
            )
        return start

    def scaled(self, actions: Float[Tensor, "B N K A"], start: Float[Tensor, "B A"] | None) -> Float[Tensor, "B NKA"]:
        """What the head should answer for actions that were executed after ``start``, in z-scores."""
        answer: Tensor = self.answer_scaler(self._relative(actions, start).flatten(1))
        return answer

    def _relative(self, actions: Float[Tensor, "B N K A"], start: Float[Tensor, "B A"] | None) -> Tensor:
        return actions - self._required(start)[:, None, None] if self.config.change else actions

    def actions(
        self,
        answer: Float[Tensor, "B NKA"],
        steps: Int[Tensor, " B"] | None,
        start: Float[Tensor, "B A"] | None,
    ) -> Float[Tensor, "B N K A"]:
        """Turn z-scored answers into actions; blocks after the goal is reached hold still.

        Holding is the last target (changes) or ``rest``, the neutral action. Not clipped to any bounds.
        """
        config = self.config
        raw = answer * self.answer_scaler.std + self.answer_scaler.mean
        plan = raw.view(-1, config.horizon, config.block, config.action_dim)
        if config.change:
            plan = plan + self._required(start)[:, None, None]
        if steps is None:
            return plan
        arrived = self.beyond(steps)
        last = plan[torch.arange(len(plan)), steps.long().clamp(1, config.horizon) - 1, -1]
        held = last if config.change else self.rest.expand_as(last)
        return torch.where(arrived[:, :, None, None], held[:, None, None], plan)

    def beyond(self, steps: Int[Tensor, " B"]) -> Bool[Tensor, "B N"]:
        """Which blocks lie after the goal (no block does where the steps are unknown, 0)."""
        blocks = torch.arange(self.config.horizon, device=steps.device)
        return (blocks >= steps.clamp(min=1)[:, None]) & (steps > 0)[:, None]

    @torch.no_grad()
    def propose(
        self,
        z: Float[Tensor, "B D"],
        goal: Float[Tensor, "B D"],
        steps: Int[Tensor, " B"] | None = None,
        start_action: Float[Tensor, "B A"] | None = None,
        count: int = 1,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "B M N K A"]:
        """Propose ``count`` plans each: the mean first, then draws around it with the residuals' covariance.

        Args:
            z, goal, steps: as in `forward`.
            start_action: the last executed action, dataset units.
            count: M.
            generator: draws the noise, on the latents' device; needed when M > 1.

        Raises:
            JepaflowError: for M < 1, or without generator or start where they are needed.
        """
        require_positive("proposal", count=count)
        if count > 1 and generator is None:
            raise JepaflowError("More than one proposal is drawn at random: give a torch.Generator.")
        answer = self(z, goal, steps, start_action)
        noise = torch.zeros(len(z), count, answer.shape[1], device=z.device, dtype=z.dtype)
        if count > 1:
            shape = (len(z), count - 1, answer.shape[1])
            noise[:, 1:] = torch.randn(shape, generator=generator, device=z.device) @ self.residual.T
        many = (answer[:, None] + noise).flatten(0, 1)
        repeated = [None if x is None else x.repeat_interleave(count, 0) for x in (steps, start_action)]
        plans = self.actions(many, *repeated)
        return plans.view(len(z), count, *plans.shape[1:])

    def act(
        self,
        z: Float[Tensor, "B D"],
        goal: Float[Tensor, "B D"],
        steps: Int[Tensor, " B"] | None = None,
        start_action: Float[Tensor, "B A"] | None = None,
    ) -> Float[Tensor, "B K A"]:
        """Return the next block, for acting without a search."""
        return self.propose(z, goal, steps, start_action)[:, 0, 0]

    def fit_scalers(
        self, z: Float[Tensor, "n D"], actions: Float[Tensor, "m N K A"], start: Float[Tensor, "m A"] | None
    ) -> None:
        """Take the statistics of training latents, plans and last executed actions, in place.

        ``rest`` becomes the neutral action: zero where zero lies within the actions seen, the mean action elsewhere.
        """
        fit_latent_scaler(self.latent_scaler, z)
        answers = self._relative(actions, start).flatten(1)
        flat = actions.flatten(0, 2)
        pairs = [(self.answer_scaler, answers), (self.start_scaler, flat if start is None else start)]
        for scaler, values in pairs:
            std = values.std(0, correction=0)
            scaler.mean.copy_(values.mean(0))
            scaler.std.copy_(torch.where(std <= 1e-5 * values.mean(0).abs().clamp_min(1), torch.ones_like(std), std))
        includes_zero = (flat.amin(0) <= 0) & (flat.amax(0) >= 0)
        self.rest.copy_(torch.where(includes_zero, torch.zeros_like(self.rest), flat.mean(0)))

    def fit_residual(self, residuals: Float[Tensor, "n NKA"], shrink: float = 0.1) -> None:
        """Take the covariance of z-scored residuals, shrunk towards its diagonal (few samples have wild directions)."""
        values = residuals.double()
        covariance = values.T @ values / max(1, len(values))
        diagonal = covariance.diagonal().clamp_min(1e-8).diag()
        mixed = (1 - shrink) * covariance + shrink * diagonal
        self.residual.copy_(torch.linalg.cholesky(mixed + 1e-8 * torch.eye(len(mixed), device=mixed.device)))
