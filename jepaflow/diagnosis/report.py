"""The report: one HTML file that needs nothing else, the same pictures as PNG files, and ``metrics.json``.

Every file is written whole or not at all, ``report.html`` last, so that a report which opens is complete.
"""

import base64
import math
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import torch

from jepaflow import __version__
from jepaflow.common.files import atomic_path, write_json
from jepaflow.diagnosis.figures import draw_all
from jepaflow.diagnosis.geometry import DIRECTIONS
from jepaflow.diagnosis.measure import Diagnosis
from jepaflow.diagnosis.verdict import rank_limit
from jepaflow.diagnosis.words import interval, number, show

# Accent and tint of the verdict: green to plan with, amber with care, red not at all, grey unknown.
COLOURS = {
    "sighted": ("#0f8a5f", "#e9f7f1"),
    "short-sighted": ("#d97706", "#fef6e7"),
    "deaf": ("#d97706", "#fef6e7"),
    "blind": ("#c81e1e", "#fdf0f0"),
    "undecided": ("#7b8794", "#eef1f4"),
}


def metrics(diagnosis: Diagnosis, command: str) -> dict[str, Any]:
    """Everything measured, as JSON; None where a figure does not exist."""
    forecast, geometry = diagnosis.forecast, diagnosis.geometry
    normality = geometry.normality
    return {
        "command": command,
        "verdict": diagnosis.verdict.as_dict(),
        "skill": [e.as_dict() for e in forecast.skill],
        "skill_shuffled": [e.as_dict() for e in forecast.shuffled],
        "skill_minus_shuffled": [e.as_dict() for e in forecast.gain],
        "listening": forecast.listening.as_dict(),
        "mse": [_finite(x) for x in forecast.mse],
        "mse_copy_last": [_finite(x) for x in forecast.mse_copy],
        "effective_rank": geometry.effective_rank.as_dict(),
        "spectrum": [float(x) for x in geometry.spectrum],
        "normality": {
            "share_failing": _finite(normality.share),
            "samples": normality.n,
            "stride": normality.stride,
            "neighbour_correlation": _finite(normality.correlation),
            "test": "Anderson-Darling, mean and variance estimated, Benjamini-Hochberg at 0.05",
        },
        "straightness": geometry.straightness.as_dict(),
        "facts": diagnosis.facts,
    }


def write_report(diagnosis: Diagnosis, folder: Path, command: str) -> Path:
    """Write ``metrics.json``, the PNG files and ``report.html`` into ``folder``; returns the path of the report.

    Raises:
        JepaflowError: when the folder cannot be written.
    """
    images = draw_all(diagnosis)
    write_json(folder / "metrics.json", metrics(diagnosis, command))
    for name, data in images.items():
        with atomic_path(folder / f"{name}.png") as temporary:
            temporary.write_bytes(data)
    path = folder / "report.html"
    text = render(diagnosis, images, command)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def render(diagnosis: Diagnosis, images: dict[str, bytes], command: str) -> str:
    """The report as HTML text, pictures embedded."""
    source = files("jepaflow.diagnosis").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    colour, tint = COLOURS[diagnosis.verdict.sight]
    return environment.from_string(source).render(
        title=f"What {diagnosis.facts['run']} sees",
        date=datetime.now(UTC).strftime("%d %B %Y"),
        colour=colour,
        tint=tint,
        verdict=diagnosis.verdict,
        cards=_cards(diagnosis),
        images={k: "data:image/png;base64," + base64.b64encode(v).decode() for k, v in images.items()},
        facts=diagnosis.facts,
        normality=_normality_words(diagnosis),
        straightness=_straightness_words(diagnosis),
        rows=_rows(diagnosis),
        listed=_listed(diagnosis.facts),
        rank_limit=f"{rank_limit(diagnosis.geometry.latent_dim):g}",
        command=command,
        version=__version__,
        torch=torch.__version__,
    )


def _cards(diagnosis: Diagnosis) -> list[dict[str, str]]:
    forecast, geometry = diagnosis.forecast, diagnosis.geometry
    last = len(forecast.skill)
    skills = [(h, forecast.skill[h - 1]) for h in sorted({1, (last + 1) // 2, last})]
    cards = [{"name": f"skill, h = {h}", "value": number(e.value), "note": interval(e)} for h, e in skills]
    gain, rank, share = forecast.listening, geometry.effective_rank, geometry.normality.share
    return [
        *cards,
        {"name": "gain by actions", "value": number(gain.value), "note": interval(gain)},
        {"name": "effective rank", "value": number(rank.value, 1), "note": f"of {geometry.latent_dim} directions"},
        {
            "name": "not normal",
            "value": "–" if math.isnan(share) else f"{100 * share:.0f} %",
            "note": f"n = {geometry.normality.n}",
        },
    ]


def _rows(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    forecast, step = diagnosis.forecast, diagnosis.facts["step_seconds"]
    return [
        {
            "h": h + 1,
            "ahead": f"{(h + 1) * step:.2g} s",
            "skill": show(forecast.skill[h]),
            "shuffled": show(forecast.shuffled[h]),
            "gain": show(forecast.gain[h]),
            "mse": number(forecast.mse[h], 4),
            "mse_copy": number(forecast.mse_copy[h], 4),
            "n": forecast.skill[h].n,
            "episodes": forecast.skill[h].episodes,
            "bad": not forecast.skill[h].low > 0,
        }
        for h in range(len(forecast.skill))
    ]


def _listed(facts: dict[str, Any]) -> list[tuple[str, str]]:
    seed = "" if facts["training_seed"] is None else f", seed {facts['training_seed']}"
    inputs = f"{', '.join(facts['cameras'])} at {facts['image_size']} px"
    inputs += " and proprioception" if facts["proprio"] else ""
    short = f", {facts['too_short_episodes']} of them too short" if facts["too_short_episodes"] else ""
    return [
        ("Run", f"{facts['run']}, checkpoint at step {facts['checkpoint_step']:,}{seed}"),
        ("Model", f"{facts['parameters']:,} parameters, {facts['encoder']} encoder, latent D = {facts['latent_dim']}"),
        ("Input", f"{inputs}; {facts['action_dim']} actions; history of {facts['history']} model steps"),
        ("Model step", f"{facts['block']} control steps = {facts['step_seconds']:.3g} s at {facts['fps']:g} Hz"),
        (
            "Store",
            f"{facts['store']}, {facts['store_episodes']} episodes (the run trained on {facts['train_episodes']})",
        ),
        (
            "Judged on",
            f"{facts['judged_episodes']} of {facts['held_out_episodes']} held-out episodes{short}; "
            f"{facts['held_out_because']}",
        ),
        (
            "Evidence",
            f"{facts['frames']:,} frames, {facts['windows']:,} windows, {facts['draws']:,} resamples, "
            f"seed {facts['seed']}",
        ),
    ]


def _normality_words(diagnosis: Diagnosis) -> str:
    normality = diagnosis.geometry.normality
    if math.isnan(normality.share):
        return f"Only {normality.n} roughly independent frames are there, too few to test."
    known = not math.isnan(normality.correlation)
    correlation = f" (neighbours still correlate by {number(normality.correlation)})" if known else ""
    steps = "one model step" if normality.stride == 1 else f"{normality.stride} model steps"
    return (
        f"{100 * normality.share:.0f} % of {DIRECTIONS} random directions fail the Anderson–Darling test "
        f"(Benjamini–Hochberg, 5 %) on {normality.n} frames, {steps} apart{correlation}. "
        "With more frames any real cloud fails: compare shares at equal n only."
    )


def _straightness_words(diagnosis: Diagnosis) -> str:
    estimate = diagnosis.geometry.straightness
    if not math.isfinite(estimate.value):
        return "Straightness is undefined: nothing moves."
    return (
        f"Straightness, the mean cosine between successive movements, is {show(estimate)}: 1 is a straight line, "
        "0 a random walk, −0.5 pure noise around a point."
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
