"""LeWorldModel's planning as its paper describes it (arXiv 2603.19312, App. B), in plain float32 PyTorch.

Cross-entropy search: samples around a Gaussian (candidate 0 is its mean), the whole plan imagined by the predictor, the
squared distance of the last imagined latent to the goal's, the best refit the Gaussian, the last mean is the answer. What
makes it slow is kept: environments are searched one after the other, the encoded history is expanded to all samples, and
each step runs the predictor on the whole window, all tokens through all layers, to take the last forecast. The history's
and the goal's frames are encoded once per search, or once per iteration as the first released evaluator did.

The released code's standard deviation is the unbiased one. Ours divides by the number of elites, and this reference too,
so that both search the same plans: 1.7 % of width, no time.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.reference.plain_model import PlainJEPA


@dataclass(frozen=True)
class Search:
    """The budget; the paper's is the default."""

    samples: int = 300
    iterations: int = 30
    horizon: int = 5
    elites: int = 30
    encode_each_iteration: bool = False
    """Encode history and goal again in every iteration."""


@dataclass
class Found:
    """The answer and how it was reached."""

    mean: Tensor
    """[E N K A]"""
    costs: list[Tensor] = field(default_factory=list)
    """[S] of each iteration, one environment after the other."""
    elites: list[Tensor] = field(default_factory=list)
    """Indices [elites], likewise."""


@dataclass(frozen=True)
class Scene:
    """What is seen: frames [E H V S S 3] and the blocks between them [E H-1 K A], the goal's frame [E 1 V S S 3]."""

    frames: Tensor
    past: Tensor
    goal: Tensor


class LewmPlanner:
    """Plans with a plain model in eval mode."""

    def __init__(self, model: PlainJEPA, search: Search) -> None:
        self.model, self.search = model, search

    @torch.no_grad()
    def encode(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """Return the latents of history [E H D] and goal [E 1 D]."""
        return self.model.encode(scene.frames), self.model.encode(scene.goal)

    @torch.no_grad()
    def plan(self, scene: Scene, generator: torch.Generator, latents: tuple[Tensor, Tensor] | None = None) -> Found:
        """Search a plan for each environment.

        Args:
            scene: what is seen.
            generator: of the samples, on the model's device.
            latents: of history and goal where they are encoded already.
        """
        z, goal = self.encode(scene) if latents is None else latents
        found, means = Found(torch.empty(0)), []
        for env in range(len(z)):
            alone = Scene(scene.frames[env : env + 1], scene.past[env : env + 1], scene.goal[env : env + 1])
            means.append(self._plan_one(alone, z[env : env + 1], goal[env : env + 1], generator, found))
        found.mean = torch.stack(means)
        return found

    def _plan_one(self, scene: Scene, z: Tensor, goal: Tensor, generator: torch.Generator, found: Found) -> Tensor:
        search, config = self.search, self.model.config
        mean = torch.zeros(search.horizon, config.block, config.action_dim, device=z.device)
        std = torch.ones_like(mean)
        for _ in range(search.iterations):
            if search.encode_each_iteration:
                z, goal = self.encode(scene)
            noise = torch.randn(search.samples, *mean.shape, generator=generator, device=z.device)
            noise[0] = 0.0
            candidates = mean + std * noise
            costs = self.price(z, scene.past, goal, candidates)
            elites = costs.topk(search.elites, largest=False).indices
            mean, std = candidates[elites].mean(0), candidates[elites].std(0, unbiased=False)
            found.costs.append(costs)
            found.elites.append(elites)
        return mean

    @torch.no_grad()
    def price(self, z: Tensor, past: Tensor, goal: Tensor, candidates: Tensor) -> Tensor:
        """Imagine candidates [S N K A] from one history (z [1 H D], past [1 H-1 K A]); the mean squared error at the end."""
        samples, window = len(candidates), self.model.config.history
        states = z.expand(samples, -1, -1)
        blocks = torch.cat([past.expand(samples, -1, -1, -1), candidates], 1)
        for _ in range(candidates.shape[1]):
            end = states.shape[1]
            begin = max(0, end - window)
            forecast = self.model.predict(states[:, begin:end], blocks[:, begin:end])
            states = torch.cat([states, forecast[:, -1:]], 1)
        return (states[:, -1] - goal[:, 0]).square().mean(-1)
