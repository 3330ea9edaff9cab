"""The report: one HTML file that needs nothing else, its pictures as PNG files, and ``metrics.json``.

It is made for someone who has never seen the code: verdict, evidence, how to improve, details. What other commands
measured of the run (:mod:`jepaflow.diagnosis.topics`) stands in it too; what nobody measured is named with the command
that would. Every file is written whole or not at all, ``report.html`` last, so that a report which opens is complete.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import markupsafe

from jepaflow.common.files import atomic_path, write_json
from jepaflow.common.results import Row
from jepaflow.diagnosis.advice import Advice, advise
from jepaflow.diagnosis.figures import Chart, draw_all
from jepaflow.diagnosis.geometry import DIRECTIONS
from jepaflow.diagnosis.measure import Diagnosis, Options, pool
from jepaflow.diagnosis.page import COLOURS, embedded, fill, write_page
from jepaflow.diagnosis.rows import result_rows
from jepaflow.diagnosis.tables import Cell, Table, figures_table, probe_table
from jepaflow.diagnosis.topics import Topic
from jepaflow.diagnosis.verdict import COLLAPSED_SPREAD, rank_limit
from jepaflow.diagnosis.words import interval, number, plain, show


def all_rows(diagnosis: Diagnosis, topics: Sequence[Topic] = ()) -> list[Row]:
    """Every figure of a run as a row under its own name: what diagnose measured, then what other commands did."""
    rows = result_rows("", [diagnosis], pool([diagnosis], Options(draws=diagnosis.facts["draws"])))
    known = {row.name for row in rows}
    return rows + [row for topic in topics for row in topic.rows if row.name not in known]


def metrics(
    diagnosis: Diagnosis, command: str, topics: Sequence[Topic] = (), advice: Sequence[Advice] = ()
) -> dict[str, Any]:
    """Everything measured, as JSON; None where a figure does not exist. ``rows`` has each figure beside its floors."""
    forecast, geometry = diagnosis.forecast, diagnosis.geometry
    normality = geometry.normality
    return {
        "command": command,
        "verdict": diagnosis.verdict.as_dict(),
        "advice": [one.as_dict() for one in advice],
        "skill": [e.as_dict() for e in forecast.skill],
        "skill_shuffled": [e.as_dict() for e in forecast.shuffled],
        "skill_minus_shuffled": [e.as_dict() for e in forecast.gain],
        "listening": forecast.listening.as_dict(),
        "mse": [_finite(x) for x in forecast.mse],
        "mse_copy_last": [_finite(x) for x in forecast.mse_copy],
        "effective_rank": geometry.effective_rank.as_dict(),
        "latent_spread": diagnosis.spread.as_dict(),
        "spectrum": [float(x) for x in geometry.spectrum],
        "normality": {
            "share_failing": _finite(normality.share),
            "samples": normality.n,
            "stride": normality.stride,
            "neighbour_correlation": _finite(normality.correlation),
            "test": "Anderson-Darling, mean and variance estimated, Benjamini-Hochberg at 0.05",
        },
        "straightness": geometry.straightness.as_dict(),
        "close_up": None if diagnosis.close is None else diagnosis.close.as_dict(),
        "rows": [asdict(row) for row in all_rows(diagnosis, topics)],
        "facts": diagnosis.facts,
    }


def write_report(
    diagnosis: Diagnosis, folder: Path, command: str, topics: Sequence[Topic] = (), run: str | None = None
) -> Path:
    """Write ``metrics.json``, the PNG files and ``report.html`` into ``folder``; returns the path of the report.

    Args:
        diagnosis: what was measured.
        folder: where to write.
        command: what a reader types to make it again.
        topics: what other commands measured of the same run.
        run: the run folder as a reader types it, for the advice; its name when not given.

    Raises:
        JepaflowError: when the folder cannot be written.
    """
    charts, close = draw_all(diagnosis), {} if diagnosis.close is None else diagnosis.close.pictures()
    advice = advise(diagnosis, topics, run or diagnosis.facts["run"])
    write_json(folder / "metrics.json", metrics(diagnosis, command, topics, advice))
    for name, data in {**{name: chart.png for name, chart in charts.items()}, **close}.items():
        with atomic_path(folder / f"{name}.png") as temporary:
            temporary.write_bytes(data)
    return write_page(folder / "report.html", render(diagnosis, charts, close, command, topics, advice))


def render(
    diagnosis: Diagnosis,
    charts: dict[str, Chart],
    close: dict[str, bytes],
    command: str,
    topics: Sequence[Topic],
    advice: Sequence[Advice],
) -> str:
    """The report as HTML text, pictures embedded."""
    parts, shown = _close_parts(diagnosis, close), [_topic(topic, diagnosis) for topic in topics if topic.there]
    return fill(
        "report.html.j2",
        title=f"What {diagnosis.facts['run']} sees",
        colour=COLOURS[diagnosis.verdict.sight],
        verdict=diagnosis.verdict,
        advice=advice,
        cards=_cards(diagnosis),
        charts={name: _labelled(name, chart) for name, chart in charts.items()},
        close=parts,
        topics=shown,
        missing=_missing(diagnosis, topics),
        contents=_contents([*parts, *shown]),
        facts=diagnosis.facts,
        normality=_normality_words(diagnosis),
        straightness=_straightness_words(diagnosis),
        spread=_spread_words(diagnosis),
        skill_table=_skill_table(diagnosis),
        figures=figures_table(all_rows(diagnosis, topics)),
        listed=_listed(diagnosis.facts),
        rank_limit=f"{rank_limit(diagnosis.geometry.latent_dim):g}",
        spread_limit=f"{COLLAPSED_SPREAD:g}",
        command=command,
    )


ALT = {
    "skill": "Skill against model steps ahead, with its own and with shuffled actions",
    "episodes": "Skill one step ahead of each held-out episode",
    "spectrum": "Spectrum of the latents",
    "normality": "Quantiles of the latents against normal quantiles",
    "pca": "First two principal components coloured by time",
}


def _labelled(name: str, chart: Chart) -> markupsafe.Markup:
    """The chart's SVG, trusted, since this package drew it; named for readers who cannot see it."""
    return markupsafe.Markup(chart.svg.replace("<svg ", f'<svg role="img" aria-label="{ALT[name]}" ', 1))


def _close_parts(diagnosis: Diagnosis, pictures: dict[str, bytes]) -> list[dict[str, str]]:
    close = diagnosis.close
    if close is None:
        return []
    titles, captions = close.titles(), close.captions()
    return [
        {"key": f"close-{key}", "title": titles[key], "caption": captions[key], "image": embedded(data)}
        for key, data in pictures.items()
    ]


def _topic(topic: Topic, diagnosis: Diagnosis) -> dict[str, Any]:
    rows, kind = topic.rows, topic.kind
    return {
        "key": kind.key,
        "title": kind.title,
        "words": kind.words,
        "images": [embedded(data) for data in topic.pictures.values()],
        "table": probe_table(rows),
        "all": figures_table(rows, f"{kind.key}-all") if rows else None,
        "command": topic.command,
        "stale": topic.stale(diagnosis.facts["checkpoint_step"]),
    }


def _missing(diagnosis: Diagnosis, topics: Sequence[Topic]) -> list[tuple[str, str, str]]:
    """What was not measured: a sentence, the command that would, and what that needs."""
    lines = [
        (f"{topic.kind.title} {_nearby(topic.why)}", "", "")
        if topic.why
        else (topic.kind.title, topic.command, topic.kind.needs)
        for topic in topics
        if not topic.there
    ]
    if diagnosis.close is None:
        return [
            *lines,
            ("The close-up (isometry, maps, neighbours, far horizons) was left out: --skip close-up.", "", ""),
        ]
    return lines + [(_nearby(sentence), "", "") for sentence in diagnosis.close.missing]


def _nearby(sentence: str) -> str:
    """A sentence whose paths start from here: a report is given away, and says nothing of the machine that made it."""
    return sentence.replace(f"{Path.cwd()}/", "")


def _contents(parts: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    fixed = [("skill", "How far can it see?"), ("geometry", "Geometry")]
    ends = [("improve", "How to improve"), ("details", "Details and all figures")]
    return fixed + [(part["key"], part["title"]) for part in parts] + ends


def _cards(diagnosis: Diagnosis) -> list[dict[str, str]]:
    forecast, geometry = diagnosis.forecast, diagnosis.geometry
    last = len(forecast.skill)
    skills = [(h, forecast.skill[h - 1]) for h in sorted({1, (last + 1) // 2, last})]
    cards = [
        {
            "name": f"skill, {h} step{'s' * (h > 1)} ahead",
            "value": number(e.value),
            "note": f"{interval(e)}; floor\u00a00",
        }
        for h, e in skills
    ]
    gain, rank, share = forecast.listening, geometry.effective_rank, geometry.normality.share
    return [
        *cards,
        {"name": "gain by actions", "value": number(gain.value), "note": f"{interval(gain)}; floor\u00a00"},
        {
            "name": "effective rank",
            "value": number(rank.value, 1),
            "note": f"of {geometry.latent_dim}; collapsed:\u00a01",
        },
        {
            "name": "not normal",
            "value": "–" if math.isnan(share) else f"{100 * share:.0f} %",
            "note": f"of directions, n = {geometry.normality.n}; Gaussian:\u00a00\u00a0%",
        },
    ]


def _skill_table(diagnosis: Diagnosis) -> Table:
    forecast, step = diagnosis.forecast, diagnosis.facts["step_seconds"]
    head = ("h", "ahead", "skill", "with shuffled actions", "difference", "MSE", "copy-last", "windows", "episodes")
    lines = []
    for h, own in enumerate(forecast.skill):
        surely = "good" if own.low > 0 else "bad"
        other, gain = forecast.shuffled[h], forecast.gain[h]
        lines.append(
            (
                Cell(str(h + 1), h + 1),
                Cell(f"{(h + 1) * step:.2g} s", (h + 1) * step),
                Cell(number(own.value), _key(own.value), interval(own), surely),
                Cell(number(other.value), _key(other.value), interval(other)),
                Cell(number(gain.value), _key(gain.value), interval(gain)),
                Cell(number(forecast.mse[h], 4), _key(forecast.mse[h])),
                Cell(number(forecast.mse_copy[h], 4), _key(forecast.mse_copy[h])),
                Cell(f"{own.n:,}", own.n),
                Cell(str(own.episodes), own.episodes),
            )
        )
    return Table(head, tuple(lines), "skill")


def _key(value: float) -> float:
    """What a cell is sorted by; what does not exist goes first."""
    return float(value) if math.isfinite(value) else float("-inf")


def _listed(facts: dict[str, Any]) -> list[tuple[str, str]]:
    seed = "" if facts["training_seed"] is None else f", seed {facts['training_seed']}"
    inputs = f"{', '.join(facts['cameras'])} at {facts['image_size']} px"
    inputs += " and proprioception" if facts["proprio"] else ""
    short = f", {facts['too_short_episodes']} of them too short" if facts["too_short_episodes"] else ""
    return [
        ("Run", f"{facts['run']}, checkpoint at step {facts['checkpoint_step']:,}{seed}"),
        ("Model", f"{facts['parameters']:,} parameters, {facts['encoder']} encoder, latent D = {facts['latent_dim']}"),
        ("Training", _training_words(facts["training"])),
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


def _training_words(training: dict[str, Any]) -> str:
    names = {"preset": "preset", "steps": "steps", "sigreg": "λ", "rollout": "rollout loss", "inverse": "inverse loss"}
    known = [f"{word} {training[key]}" for key, word in names.items() if training[key]]
    return ", ".join(known) or "not recorded"


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


def _spread_words(diagnosis: Diagnosis) -> str:
    spread = diagnosis.spread
    if not math.isfinite(spread.value):
        return ""
    return (
        f"The variance of a latent dimension is {plain(spread.value)} on average, where 1 is asked for; below "
        f"{COLLAPSED_SPREAD:g} they have collapsed in size."
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
