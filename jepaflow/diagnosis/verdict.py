"""One plain sentence by stated thresholds.

The thresholds, on held-out episodes, "surely" meaning that the lower bound of the 95 % interval over episodes (and
seeds) lies above 0:

- **collapsed**: the latents do not tell frames apart. Either their effective rank is below 2 (in a latent of one or
  two dimensions, below its middle value), or their *spread*, the mean variance of a latent dimension over held-out
  frames, is below 0.01, where SIGReg asks for 1: without SIGReg the cheapest way to a small prediction error is to
  shrink every latent to a point, which keeps its rank and even some skill while it says nothing. Or nothing moves.
- **undecided**: fewer than two held-out episodes, so no interval exists.
- **blind**: skill(1) is not surely positive.
- **deaf to actions**: the mean over all horizons of skill minus shuffled skill is not surely positive. A model may
  forecast well and be deaf (it plays the usual film); it cannot plan, however far it sees, so this label goes before
  short-sighted. One joint test over horizons, so that ten looks do not find something by luck.
- **short-sighted (skilful to h = x)**: surely positive up to ``x`` model steps, not at ``x + 1``.
- **sighted**: surely positive at every ``h = 1 … 10``, *and* listening, however far beyond it was asked to look.

The first that holds, in this order, is the verdict. Rank and spread have no interval test: collapse is a state and not
a matter of degree, and the values lie far from their limits in practice: in a sweep of λ on the square of the tests the
spread is 0.0001 to 0.0007 up to λ = 0.001 (rank 12, skill 0.3 to 0.4, deaf) and 0.28 or more from λ = 0.005 on (there
with rank 1.1); models of real and simulated arms have 0.95 to 0.97.
"""

import math
from dataclasses import dataclass
from typing import Literal

from jepaflow.diagnosis.forecast import HORIZON, Forecast
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.words import number, show

Sight = Literal["undecided", "collapsed", "blind", "deaf", "short-sighted", "sighted"]

COLLAPSED_RANK = 2.0
COLLAPSED_SPREAD = 0.01
FEW_EPISODES = 5


@dataclass(frozen=True)
class Verdict:
    """What a model can be used for.

    Attributes:
        sight: the label.
        skilful_to: the last horizon up to which skill is surely positive, 0 if none, in model steps.
        listens: whether the right actions surely help; None when that could not be tested.
        sentence: the verdict, for people.
        reasons: the figures that it rests on, and what weakens it.
    """

    sight: Sight
    skilful_to: int
    listens: bool | None
    sentence: str
    reasons: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """For ``metrics.json``."""
        return {
            "sight": self.sight,
            "skilful_to": self.skilful_to,
            "listens": self.listens,
            "sentence": self.sentence,
            "reasons": list(self.reasons),
        }


def rank_limit(latent_dim: int) -> float:
    """Effective rank below which latents count as collapsed: 2, and less where ``D`` itself is 1 or 2."""
    return min(COLLAPSED_RANK, (latent_dim + 1) / 2)


def judge(
    forecast: Forecast,
    effective_rank: float,
    latent_dim: int,
    step_seconds: float | None = None,
    spread: float | None = None,
) -> Verdict:
    """Turn figures into a sentence by the thresholds at the top of this module.

    Args:
        forecast: skill at 1 … N model steps.
        effective_rank: of the held-out latents.
        latent_dim: ``D``.
        step_seconds: duration of a model step, to say horizons in seconds too.
        spread: mean variance of a latent dimension over held-out frames; None leaves that test out.
    """
    skilful = _skilful_to(forecast.skill)
    listens = _surely_positive(forecast.listening) if _has_interval(forecast.listening) else None
    reasons = _reasons(forecast, effective_rank, latent_dim, listens, spread)
    collapse = _collapse(effective_rank, latent_dim, spread)
    if collapse:
        return Verdict("collapsed", 0, listens, collapse, reasons)
    if not _has_interval(forecast.skill[0]) and forecast.skill[0].episodes < 2:
        sentence = (
            f"Undecided: {forecast.skill[0].episodes} held-out episode is too few for an interval; hold out at least 5."
        )
        return Verdict("undecided", 0, listens, sentence, reasons)
    if skilful == 0:
        sentence = (
            "Blind: even one model step ahead it does not surely forecast better than repeating the last frame "
            f"(skill {show(forecast.skill[0])})."
        )
        return Verdict("blind", 0, listens, sentence, reasons)
    return Verdict(*_seeing(forecast.skill, skilful, listens, step_seconds), reasons)


def _collapse(rank: float, latent_dim: int, spread: float | None) -> str:
    """The sentence that says how the latents collapsed; empty where they did not."""
    if not rank >= rank_limit(latent_dim):
        return (
            f"Collapsed: the latents lie on a line or a point (effective rank {number(rank, 1)} of {latent_dim}), "
            "so whatever the camera sees looks alike to this model."
        )
    if spread is not None and not spread >= COLLAPSED_SPREAD:
        return (
            f"Collapsed: the latents have shrunk to nearly a point (variance {spread:.1g} a dimension, where 1 is asked "
            "for), so whatever the camera sees looks alike to this model."
        )
    return ""


def _seeing(
    skill: tuple[Estimate, ...], skilful: int, listens: bool | None, step_seconds: float | None
) -> tuple[Sight, int, bool | None, str]:
    """Label and sentence of a model that forecasts something."""
    measured = sum(e.n > 0 for e in skill)
    span = f"{skilful} model step{'s' if skilful > 1 else ''}" + (
        f" ({skilful * step_seconds:.1f} s)" if step_seconds else ""
    )
    if listens is False:
        sentence = (
            f"Deaf to actions: it forecasts {span} ahead, but another episode's actions serve it as well as its own. "
            "It plays the usual film and cannot plan."
        )
        return "deaf", skilful, listens, sentence
    ear = "and it listens to its actions" if listens else "whether it listens to its actions could not be tested"
    if skilful < min(measured, HORIZON):
        return "short-sighted", skilful, listens, f"Short-sighted: it forecasts only {span} ahead, {ear}."
    if measured < HORIZON:
        asked = measured == len(skill)
        tail = f"it was asked for {measured} steps" if asked else "no held-out episode is long enough to look further"
        return (
            "short-sighted",
            skilful,
            listens,
            f"It forecasts {span} ahead, as far as it could be tested ({tail}), {ear}.",
        )
    if listens is None:
        return "undecided", skilful, listens, f"Undecided: it forecasts {span} ahead, and {ear}."
    return (
        "sighted",
        skilful,
        listens,
        f"Sighted: it forecasts better than repeating the last frame {span} ahead, {ear}.",
    )


def _skilful_to(skill: tuple[Estimate, ...]) -> int:
    for index, estimate in enumerate(skill):
        if not _surely_positive(estimate):
            return index
    return len(skill)


def _surely_positive(estimate: Estimate) -> bool:
    return _has_interval(estimate) and estimate.low > 0


def _has_interval(estimate: Estimate) -> bool:
    return math.isfinite(estimate.low) and math.isfinite(estimate.value)


def _reasons(
    forecast: Forecast, rank: float, latent_dim: int, listens: bool | None, spread: float | None
) -> tuple[str, ...]:
    first, last = forecast.skill[0], forecast.skill[-1]
    reasons = [
        f"skill(1) = {show(first)} over {first.n} windows of {first.episodes} held-out "
        f"episode{'' if first.episodes == 1 else 's'}",
        f"skill({len(forecast.skill)}) = {show(last)} over {last.n} windows",
        f"the right actions add {show(forecast.listening)} skill on average over the horizons"
        if listens is not None
        else "whether the right actions help could not be measured"
        + (": there is no second held-out episode" if first.episodes < 2 else ""),
        f"effective rank {number(rank, 1)} of {latent_dim} (collapse below {rank_limit(latent_dim):.1f})"
        + (f", variance {spread:.2g} a dimension (collapse below {COLLAPSED_SPREAD:g})" if spread is not None else ""),
    ]
    if 2 <= first.episodes < FEW_EPISODES:
        reasons.append(f"only {first.episodes} held-out episodes: intervals are narrower than they should be")
    return tuple(reasons)
