"""Did I really grasp it? After each block the monitor compares the latent that was expected with the one that came.

Expected is what the model imagined 1 .. W blocks ago from the latents seen then and the blocks executed since. The
differences are whitened by their covariance in calm episodes. Their length alone is a score that needs no label and knows
anything unusual; a slip is one direction among a hundred, though, and drowns in it. So where failures were recorded on
purpose, a small network that has seen some reads differences and latents and says which of five things happened, calm
among them; its log-odds of "not calm" are a second score, its likeliest event the name. Each is counted in the spread of
what calm episodes reach, and the larger one is the score.

One threshold makes a score an alarm: the conformal quantile of the *largest score of a calm episode*, so that a calm
episode raises any alarm with at most the probability asked for, however many looks it takes (Vovk 2005; Angelopoulos &
Bates, arXiv 2107.07511). It holds for episodes of the policy it was calibrated on, and promises nothing for another.

Legend: E environments, W forecasts, H history, K control steps, A action size, D latent, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.planner import Dynamics

NAMES = ("slipped", "missed", "blocked", "moved by someone", "surprised")
"""What an alarm may be called; the last where no failures taught names."""
CALM, SURPRISED = -1, NAMES.index("surprised")
CLASSES = 1 + SURPRISED
"""Of the network: calm, then the names that it may say."""


@dataclass(frozen=True)
class Forecasts:
    """What was expected of the latent that has just come."""

    now: Float[Tensor, "E W D"]
    """Imagined 1 .. W blocks ago; NaN where the episode is too young."""
    before: Float[Tensor, "E D"]
    """The latent seen last; NaN at the first look."""


class Expectation:
    """Remembers what was seen and done, and what that lets one expect.

    Args:
        model: imagines.
        history: H.
        ahead: W.
    """

    def __init__(self, model: Dynamics, history: int, ahead: int) -> None:
        self._model, self._history, self._ahead = model, history, ahead
        self.begin()

    def begin(self) -> None:
        """Forget everything: what is seen next follows nothing."""
        self._seen: list[Float[Tensor, "E D"]] = []
        self._done: list[Float[Tensor, "E K A"]] = []

    def did(self, block: Float[Tensor, "E K A"]) -> None:
        """Take note of the block that is executed after the latent seen last."""
        self._done.append(block)

    @torch.no_grad()
    def see(self, z: Float[Tensor, "E D"]) -> Forecasts:
        """Take in the latent of a new model step; return what had been expected of it.

        Raises:
            JepaflowError: a block is missing between two looks.
        """
        count, unknown = len(self._seen), torch.full_like(z, torch.nan)
        if len(self._done) != count:
            raise JepaflowError(
                f"{count} looks and {len(self._done)} blocks do not alternate. Call `did` between looks."
            )
        now = [self._imagine(count - ahead + 1) if ahead <= count else unknown for ahead in range(1, self._ahead + 1)]
        forecasts = Forecasts(torch.stack(now, 1), self._seen[-1] if count else unknown)
        kept = [*self._seen, z][-(self._history + self._ahead - 1) :]
        self._done = self._done[count - (len(kept) - 1) :]
        self._seen = kept
        return forecasts

    def _imagine(self, end: int) -> Float[Tensor, "E D"]:
        """Return the present as imagined when `end` of the remembered latents had been seen."""
        begin = max(0, end - self._history)
        future = torch.stack(self._done[end - 1 :], 1)
        past = torch.stack(self._done[begin : end - 1], 1) if end - begin > 1 else future[:, :0]
        return self._model.rollout(torch.stack(self._seen[begin:end], 1), past, future)[:, -1]


@dataclass(frozen=True)
class Judge:
    """What calibration found: when a difference is an alarm, and what to call it."""

    centre: Float[Tensor, "W D"]
    """Mean difference (observed - imagined) in calm episodes."""
    whiten: Float[Tensor, "W D D"]
    """Makes the differences of calm blocks white."""
    scale: Float[Tensor, "2 D"]
    """Mean and standard deviation of calm latents."""
    layers: tuple[Float[Tensor, "N F"], Float[Tensor, " N"], Float[Tensor, "C N"], Float[Tensor, " C"]] | None
    """The network's two layers, weights and offsets; None: the label-free score."""
    units: Float[Tensor, "2 2"]
    """Mean and standard deviation of what a calm episode reaches: of the network's log-odds, of the log length."""
    threshold: float

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        wide, dim = self.centre.shape
        fits = self.whiten.shape == (wide, dim, dim) and self.scale.shape == (2, dim) and self.units.shape == (2, 2)
        if self.layers is not None:
            first, bias, last, offset = self.layers
            fits &= first.shape == (len(bias), wide * (dim + 1) + 2 * dim)
            fits &= last.shape == (CLASSES, len(bias)) and offset.shape == (CLASSES,)
        if not fits or not self.threshold == self.threshold:
            raise JepaflowError("the monitor's parts do not fit together. Calibrate it anew with: jepaflow monitor RUN")

    def differences(self, z: Float[Tensor, "E D"], forecasts: Forecasts) -> Float[Tensor, "E W D"]:
        """Return the whitened differences; 0 where nothing was expected yet."""
        left = torch.nan_to_num(z[:, None] - forecasts.now - self.centre)
        white = torch.einsum("wij,ewj->ewi", self.whiten, left)
        return torch.where(torch.isfinite(forecasts.now), white, 0.0)

    def features(self, z: Float[Tensor, "E D"], forecasts: Forecasts) -> Float[Tensor, "E F"]:
        """Return what the network reads: differences, their lengths, the latents now and before."""
        white = self.differences(z, forecasts)
        length = torch.log1p(white.square().sum(-1) / white.shape[-1])
        now, before = ((x - self.scale[0]) / self.scale[1] for x in (z, forecasts.before))
        return torch.cat([white.flatten(1), length, now, torch.nan_to_num(before)], 1)

    def raw(self, z: Float[Tensor, "E D"], forecasts: Forecasts) -> tuple[Float[Tensor, "2 E"], list[int]]:
        """Return the network's log-odds and the log length of the difference, and what each look would be called."""
        # Nothing can be amiss before anything was expected.
        young = torch.isnan(forecasts.before).any(-1)
        length = self.differences(z, forecasts).square().mean(-1).amax(-1).clamp(min=1e-9).log()
        odds, names = torch.full_like(length, -torch.inf), [SURPRISED] * len(z)
        if self.layers is not None:
            first, bias, last, offset = self.layers
            hidden = torch.nn.functional.gelu(self.features(z, forecasts) @ first.T + bias)
            logits = hidden @ last.T + offset
            odds, names = torch.logsumexp(logits[:, 1:], 1) - logits[:, 0], logits[:, 1:].argmax(1).tolist()
        return torch.where(young, -torch.inf, torch.stack([odds, length])), names

    def judge(self, z: Float[Tensor, "E D"], forecasts: Forecasts) -> tuple[Float[Tensor, " E"], list[int]]:
        """Return how unusual each latent is, and what each would be called."""
        raw, names = self.raw(z, forecasts)
        return ((raw - self.units[:, :1]) / self.units[:, 1:]).amax(0), names


@dataclass(frozen=True)
class Verdict:
    """What the monitor says of one look."""

    score: Float[Tensor, " E"]
    names: tuple[int, ...]
    """An index of `NAMES` for each environment that raises an alarm, `CALM` for the others."""

    @property
    def any(self) -> bool:
        """Return whether any environment raises an alarm."""
        return any(name != CALM for name in self.names)

    @property
    def loud(self) -> Bool[Tensor, " E"]:
        """Return which environments do."""
        return torch.tensor([name != CALM for name in self.names])


class Monitor:
    """Watches E environments of one policy.

    Args:
        model: imagines; the one that the judge was calibrated with.
        judge: says what is unusual.
        history: H of the model.
    """

    def __init__(self, model: Dynamics, judge: Judge, history: int) -> None:
        self.judge = judge
        self.expectation = Expectation(model, history, len(judge.centre))

    def begin(self) -> None:
        """Begin a new episode."""
        self.expectation.begin()

    def did(self, block: Float[Tensor, "E K A"]) -> None:
        """Take note of the block that is executed after the latent seen last."""
        self.expectation.did(block)

    @torch.no_grad()
    def see(self, z: Float[Tensor, "E D"]) -> Verdict:
        """Take in the latent of a new model step and judge it."""
        score, names = self.judge.judge(z, self.expectation.see(z))
        loud = (score > self.judge.threshold).tolist()
        return Verdict(score, tuple(name if alarm else CALM for name, alarm in zip(names, loud, strict=True)))


def tally(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Count the alarms of some looks by name."""
    said = [name for verdict in verdicts for name in verdict.names if name != CALM]
    return {NAMES[name]: said.count(name) for name in sorted(set(said))}
