"""The cross-entropy method, plain and improved: sample around a Gaussian, keep the best, refit, repeat.

CEM (Rubinstein 1999; as in LeWorldModel, arXiv 2603.19312, App. B) answers with the last mean. Decisions that differ
from LeWM's released code: candidates are clipped to the bounds and environments are solved together in large batches.

iCEM (Pinneri et al. 2020, arXiv 2008.06389) spends fewer samples: noise that is correlated in time, a share of the
elites that stays a candidate (in the next iteration, and shifted in the next search), fewer samples each iteration, a
mean with momentum, and the best candidate ever seen as the answer.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from jepaflow.planning.config import SolverConfig
from jepaflow.planning.problem import Best, Generators, Problem, Solution, Timer, draw, mix, pick


class CEM:
    """Both methods; `config.kind` "icem" switches the improvements on."""

    def __init__(self, config: SolverConfig) -> None:
        self._config, self._improved = config, config.kind == "icem"

    def solve(self, problem: Problem, generator: Generators, deadline: float | None = None) -> Solution:
        """Search (see `Solver`)."""
        config, timer, best = self._config, Timer(deadline), Best(problem)
        mean, std, cost = problem.mean, problem.std, best.cost
        shaped = colour(mean.shape[1] * mean.shape[2], config.beta if self._improved else 0.0).to(mean.device)
        extra = problem.legal_proposals()
        # Proposals that prove to be elite stay candidates; without any, plain CEM keeps nothing.
        keep = round(config.keep * config.elites) if self._improved or extra.shape[1] else 0
        elites, done = extra[:, :0], 0
        while done < config.iterations and timer.another():
            noise = self._noise(draw(generator, mean, self._size(done)), shaped)
            candidates = mix(problem.clip(mean[:, None] + std[:, None] * noise), extra)
            costs = problem.evaluate(candidates)
            best.see(candidates, costs)
            lowest, chosen = costs.topk(config.elites, dim=1, largest=False)
            # Where fewer than `elites` candidates have a finite cost, the best one stands in for the others.
            finite = torch.isfinite(lowest)
            lowest = torch.where(finite, lowest, lowest[:, :1])
            elites = pick(candidates, torch.where(finite, chosen, chosen[:, :1]))
            slow = config.momentum if self._improved else 0.0
            mean = slow * mean + (1.0 - slow) * elites.mean(1) if slow else elites.mean(1)
            std, cost = elites.std(1, unbiased=False), lowest.mean(1)
            extra = elites[:, :keep]
            done += 1
        mean = problem.clip(mean)
        use_best = config.answer == "best" or (config.answer == "auto" and self._improved)
        answer, price = (best.params, best.cost) if use_best else (mean, cost)
        carried = elites[:, :keep] if self._improved else elites[:, :0]
        return Solution(answer, price, mean, done, best.params, best.cost, carried)

    def _size(self, iteration: int) -> int:
        """Return the number of samples of an iteration."""
        if not self._improved:
            return self._config.samples
        smallest = min(2 * self._config.elites, self._config.samples)
        return max(smallest, int(self._config.samples / self._config.shrink**iteration))

    def _noise(self, white: Float[Tensor, "E S N P A"], shaped: Float[Tensor, "L L"]) -> Float[Tensor, "E S N P A"]:
        """Return the noise, correlated in time if improved; candidate 0 is the mean: a refit cannot lose it unseen."""
        if self._improved:
            white = (shaped @ white.flatten(2, 3)).view(white.shape)
        white[:, 0] = 0.0
        return white


def colour(length: int, beta: float) -> Float[Tensor, "length length"]:
    """Return L such that L @ (white noise) has unit variance and a power spectrum that falls with frequency^-beta.

    The spectrum is that of a series twice as long, so that the first and the last value are not tied to each other.
    """
    periods = 2 * length
    frequency = torch.fft.rfftfreq(periods, dtype=torch.float64).clamp(min=1.0 / periods)
    covariance = torch.fft.irfft(frequency**-beta, n=periods)[:length]
    lag = (torch.arange(length)[:, None] - torch.arange(length)).abs()
    factor: Tensor = torch.linalg.cholesky((covariance / covariance[0])[lag])
    return factor.float()
