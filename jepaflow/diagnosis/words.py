"""Figures in words: one way to write a number and its interval, for the verdict, the report and the console."""

import math
import re
from collections.abc import Mapping

from jepaflow.diagnosis.resample import Estimate


def number(value: float, digits: int = 2) -> str:
    """A figure for people, with a true minus sign; a dash where there is none."""
    return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def plain(value: float) -> str:
    """A figure of unknown size for people: three digits that say something, ``0.0042``, ``0.64``, ``31.2``, ``1,204``."""
    size = abs(value)
    if not math.isfinite(value):
        return "–"
    if size >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    if 0 < size < 0.0095:
        digits = min(6, 1 - math.floor(math.log10(size)))
    return number(value, digits)


def among(values: Mapping[str, float]) -> str:
    """Floors or ceilings in a line: ``copy last 0.00, shuffled actions −0.13``; a dash for none."""
    return ", ".join(f"{key.replace('_', ' ')} {plain(value)}" for key, value in values.items()) or "–"


def interval(estimate: Estimate, digits: int = 2) -> str:
    """``[0.31, 0.50]``, or that there is none."""
    if not math.isfinite(estimate.low):
        return "no interval"
    return f"[{number(estimate.low, digits)}, {number(estimate.high, digits)}]"


def show(estimate: Estimate, digits: int = 2) -> str:
    """``0.42 [0.31, 0.50]``; the value alone where there is no interval."""
    value = number(estimate.value, digits)
    return f"{value} {interval(estimate, digits)}" if math.isfinite(estimate.low) else value


def trained_for(steps: int) -> str:
    """A limit of a study: how long its models were trained."""
    known = " (2,000 is the default)" if steps < 2000 else ""
    return f"{'Reduced: ' if known else ''}{steps:,} steps{known}. "


# What the names of rows mean, for someone who has never seen one; ``{}`` is the number behind the ``@``.
LABELS = {
    "skill": "Skill, {} model steps ahead",
    "skill_shuffled": "Skill with another episode's actions, {} ahead",
    "skill_minus_shuffled": "Skill that the right actions add",
    "episodes_forecast": "Episodes forecast better than “nothing moves”",
    "effective_rank": "Effective rank",
    "latent_spread": "Variance of a latent dimension",
    "straightness": "Straightness of paths",
    "not_normal": "Directions that are not normal",
    "normality_by_time": "The same in each fifth of an episode",
    "isometry_near": "Latent distance follows the world's, near frames",
    "isometry_near_within": "The same within an episode",
    "isometry_all": "The same, all pairs",
    "neighbours": "Distance in the world to the nearest latent",
    "decoded_psnr": "Imagined picture, PSNR, {} ahead",
    "decoded_psnr_apart": "Imagined picture, PSNR where frames differ, {} ahead",
    "decoded_ssim": "Imagined picture, SSIM, {} ahead",
}


def label(name: str) -> str:
    """A row's name in words: ``skill@3`` is "Skill, 3 model steps ahead"; unknown names lose their code only."""
    first, *rest = name.split("/")
    stem, _, step = first.partition("@")
    said = LABELS.get(stem)
    if said is None:
        return _topic_label(name)
    said = said.format(step) if step else said.replace(", {} ahead", "")
    return ", ".join([said.replace("1 model steps", "1 model step"), *(part.replace("_", " ") for part in rest)])


def _topic_label(name: str) -> str:
    """The name of another command's row in words."""
    words = [part.replace("_", " ") for part in name.split("/")]
    if found := re.fullmatch(r"probes?/([^/]+)/(linear|mlp)/(?:ahead(\d+)/)?(\w+)", name):
        target, kind, ahead, figure = found.groups()
        said = f"{'MLP' if kind == 'mlp' else 'Linear'} probe of {target.replace('_', ' ')}"
        return said + (f", imagined {ahead} ahead" if ahead else "") + f": {CAPITALS.get(figure, figure)}"
    if len(words) > 1:
        return f"{words[0].capitalize()}: {', '.join(CAPITALS.get(word, word) for word in words[1:])}"
    return words[0].capitalize()


CAPITALS = {"mse": "MSE", "auroc": "AUROC", "psnr": "PSNR", "psnr apart": "PSNR where frames differ", "ssim": "SSIM"}
