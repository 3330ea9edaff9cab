"""Rows of a surprise measurement: ``surprise/<violation>/auroc`` and ``…/paired``, each beside the same of the floors."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row
from jepaflow.diagnosis.surprise import Surprise
from jepaflow.diagnosis.surprise_answers import STATISTICS, SUBJECTS, Answers
from jepaflow.diagnosis.surprise_films import HIDDEN
from jepaflow.diagnosis.surprise_scores import auroc, paired_p, paired_share

CANONICAL = "so101/pick_place"
"""The arm's world whose rows carry no name of a world."""
WORDS = {"max": "largest", "mean": "mean", "first": "first"}


def result_rows(found: Surprise, name: str = "") -> list[Row]:
    """Return two rows per violation that had at least two pairs.

    Args:
        found: what was measured.
        name: what stands before every row's name; nothing when empty.
    """
    env = found.config.env
    before = (f"{name}/" if name else "") + "surprise/" + ("" if env == CANONICAL else f"{env}/")
    rows = []
    for answer in found.answers:
        if len(answer) < 2:
            continue
        for word, measure in (("auroc", auroc_of), ("paired", paired_of)):
            judged = {one: answer.judged(one, found.config.statistic) for one in SUBJECTS if answer.curves[one]}
            value = measure(judged["model"])
            low, high = bootstrap(judged["model"], measure, found.config.seed)
            floors = {"coin": 0.5} | {one: measure(pairs) for one, pairs in judged.items() if one != "model"}
            rows.append(
                Row(
                    f"{before}{answer.kind}/{word}", value, min(low, value), max(high, value), len(answer), 1,
                    "AUROC" if word == "auroc" else "fraction", floors, {}, _note(found, answer, word),
                )
            )  # fmt: skip
    return rows


def auroc_of(pairs: Float[ndarray, "n 2"]) -> float:
    """Return the AUROC of (normal, violated) pairs."""
    return auroc(pairs[:, 1], pairs[:, 0])


def paired_of(pairs: Float[ndarray, "n 2"]) -> float:
    """Return in which share of (normal, violated) pairs the violated one is the larger."""
    return paired_share(pairs[:, 1], pairs[:, 0])


def _note(found: Surprise, answer: Answers, word: str) -> str:
    """What was shown, how it was judged, what else came out."""
    config = found.config
    if word == "paired":
        return f"{answer.what}; share of pairs in which the violated film surprises more than its own normal one; 95 % bootstrap interval"
    chosen, pairs = config.statistic, answer.judged("model", config.statistic)
    others = [f"{WORDS[one]} {auroc_of(answer.judged('model', one)):.3f}" for one in STATISTICS if one != chosen]
    p = paired_p(pairs[:, 1], pairs[:, 0])
    shift = float((pairs[:, 1] - pairs[:, 0]).mean())
    words = [
        answer.what,
        f"{WORDS[chosen]} z ({config.score}) of {config.window} model steps, violated against normal films; "
        f"the others: {', '.join(others)}",
        f"paired t-test of the z-scores: {shift:+.2f}, p {'< 1e-6' if p < 1e-6 else f'= {p:.2g}'}",
        f"{found.episodes} episodes played, {answer.dropped} edits dropped because nothing of them was to be seen",
        "95 % bootstrap interval over pairs, each of its own episode",
    ]
    if answer.kind == "frozen":
        words.append("a floor below 0.5 knows it too, the other way round: a standing picture differs from nothing")
    if answer.kind == "vanish":
        steps = np.array(answer.waits)
        words.append(
            f"taken away with at most {100 * HIDDEN:.0f} % of its outline in sight of all cameras together, judged when the "
            f"normal film shows it again: {steps.mean():.1f} model steps later (1 to {steps.max()})"
        )
    return "; ".join(words)
