"""The studies' figures: seeds as dots, means joined, intervals as bands, floors dashed."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from jepaflow.common.files import atomic_path
from jepaflow.diagnosis.canvas import CLASSES, GRID, INK, MUTED, OWN, WARN, new_figure, png, style
from jepaflow.diagnosis.resample import Estimate
from jepaflow.studies.horizon import ENOUGH, REMEDIES, Horizons
from jepaflow.studies.tension import RULE, Tension

SKILL_FLOOR = -0.6
"""Skill below this is off the chart: how bad a bad forecast is would flatten the good ones."""


def draw_tension(tension: Tension, path: Path, title: str) -> None:
    """Skill against Gaussianity, effective rank and probe R², and the places read from imagination against λ."""
    figure = new_figure(10.4, 8.2)
    axes = figure.subplots(2, 2)
    _against(axes[0, 0], tension, "gaussian_distance", "distance from N(0, I): more Gaussian to the right →")
    _against(axes[0, 1], tension, "effective_rank", "effective rank of the latents")
    what = next((place for place in ("object", *tension.places) if place in tension.places), None)
    if what is None:
        axes[1, 0].set_axis_off()
    else:
        _against(axes[1, 0], tension, f"{what}_r2", f"R² of the {what}, read linearly from the latent")
    _along(axes[1, 1], tension)
    figure.suptitle(title, fontsize=11, color=INK)
    figure.supxlabel(f"○ {RULE}.", fontsize=7.5, color=MUTED)
    _write(path, png(figure))


def _against(axes: Axes, tension: Tension, x: str, label: str) -> None:
    """Prediction skill against one figure, along λ."""
    style(axes)
    colour = OWN
    for setting in tension.settings:
        axes.plot(setting.each(x), setting.each("skill@1"), ".", color=colour, markersize=8, alpha=0.45, mew=0)
    along, up = tension.curve(x), tension.curve("skill@1")
    axes.plot(along, up, "-", color=colour, linewidth=1.6)
    if tension.untrained is not None and x.endswith("_r2"):
        floor = tension.untrained.figures[x].value
        axes.axvline(floor, color=MUTED, linewidth=1, linestyle="--", label="floor: an untrained encoder")
    knee = tension.knee(x)
    if knee is not None:
        axes.plot(
            along[knee], up[knee], "o", markersize=14, mfc="none", mec=WARN, mew=1.6, label="knee", linestyle="none"
        )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="best", markerscale=0.6)
    if x == "gaussian_distance":
        axes.set_xscale("log")
        for axis_format in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            axis_format(_short)
        axes.tick_params(axis="x", which="minor", labelsize=7)
        axes.invert_xaxis()
    for number, (setting, a, b) in enumerate(zip(tension.settings, along, up)):
        if math.isfinite(a) and math.isfinite(b):
            beside = (7, -14) if number % 2 else (7, 7)  # neighbours may be close
            axes.annotate(
                f"λ {setting.weight:g}", (a, b), textcoords="offset points", xytext=beside, fontsize=8.5, color=INK
            )
    axes.margins(0.14, 0.12)
    axes.set_xlabel(label, fontsize=9, color=INK)
    axes.set_ylabel("forecast skill, 1 model step\n(in each model's own latent space)", fontsize=9, color=INK)


def _short(value: float, _: object) -> str:
    """Ticks of a logarithmic axis: only those that leave room for each other."""
    digit = round(value / 10 ** math.floor(math.log10(value) + 1e-9)) if value > 0 else 0
    return f"{value:g}" if digit in (1, 2, 5) else ""


def _along(axes: Axes, tension: Tension) -> None:
    """Places in one unit for all models: read from the latent imagined 5 steps ahead, against λ."""
    style(axes)
    ticks = np.arange(len(tension.settings))
    for colour, place in zip(CLASSES, tension.places):
        name = f"{place}_skill@5"
        if name not in tension.settings[0].figures:
            continue
        for tick, setting in zip(ticks, tension.settings):
            axes.plot(
                [tick] * len(setting.seeds), setting.each(name), ".", color=colour, markersize=6, alpha=0.45, mew=0
            )
        axes.plot(ticks, tension.curve(name), "-", color=colour, linewidth=1.6, label=f"{place}, imagined")
        usual = tension.curve(f"{place}_skill_mean@5")
        axes.plot(ticks, usual, "--", color=colour, linewidth=0.9, label=f"{place}, always the mean (floor)")
        seen = tension.curve(f"{place}_skill_seen@5")
        axes.plot(ticks, seen, ":", color=colour, linewidth=1.3, label=f"{place}, seen (ceiling)")
    axes.axhline(0, color=MUTED, linewidth=1, linestyle="--")
    axes.set_xticks(ticks, [f"{setting.weight:g}" for setting in tension.settings])
    axes.set_ylim(bottom=max(axes.get_ylim()[0], SKILL_FLOOR))
    axes.set_xlabel("λ, weight of SIGReg", fontsize=9, color=INK)
    axes.set_ylabel(
        "skill of the place read 5 model steps\nahead (in units of the world, the same for all)", fontsize=9, color=INK
    )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="best")


def draw_horizon(found: Horizons, path: Path, title: str, step_seconds: float) -> None:
    """Skill against the horizon for each remedy, in latents and in places."""
    shown = [("skill", "forecast skill\n(in each model's own latent space)"), *_panels(found)]
    figure, plain = new_figure(5.2 * len(shown), 5.0), found.plain.figures
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for ax, (name, label) in zip(axes, shown):
        style(ax)
        for colour, curve in zip(CLASSES, found.curves):
            _band(ax, curve.figures[name], colour, REMEDIES[curve.name].what, found.far)
        if name == "skill":
            _line(ax, plain["mean_skill"], ":", "floor: the mean latent (plain)")
        else:
            _line(ax, plain[f"{name}_mean"], ":", "floor: the mean place")
            _line(ax, plain[f"{name}_seen"], "-.", "ceiling: read from the real latent (plain)")
        ax.axhline(0, color=MUTED, linewidth=1, linestyle="--", label="floor: nothing changes")
        ax.axvline(found.far, color=GRID, linewidth=1.5, zorder=0)
        ax.set_ylim(SKILL_FLOOR, 1.02)
        ax.set_xlabel(f"model steps ahead, open loop ({step_seconds:.3g} s each)", fontsize=9, color=INK)
        ax.set_ylabel(label, fontsize=9, color=INK)
    for ax in axes[:2]:
        ax.legend(frameon=False, fontsize=7.5, loc="lower right")
    seeds, near = found.plain.seeds, plain["skill"][0].episodes
    figure.suptitle(title, fontsize=11, color=INK)
    figure.supxlabel(
        f"Mean over {seeds} seed{'s' * (seeds != 1)}, 95 % band over seeds and held-out episodes. {near} episodes reach 1 step, "
        f"{ENOUGH} or more reach {found.far} (grey line); beyond, thin lines without a band rest on fewer.",
        fontsize=7.5, color=MUTED,
    )  # fmt: skip
    _write(path, png(figure))


def _panels(found: Horizons) -> list[tuple[str, str]]:
    return [
        (f"{place}_skill", f"skill of the {place}'s place, read from the\nimagined latent (one unit for all models)")
        for place in found.places
    ]


def _band(axes: Axes, estimates: Sequence[Estimate], colour: str, label: str, far: int) -> None:
    """A mean with its interval as far as enough episodes reach, thin and bare beyond."""
    known = [(h, e) for h, e in enumerate(estimates, 1) if math.isfinite(e.value)]
    sure = [(h, e) for h, e in known if h <= far]
    axes.plot([h for h, _ in known], [e.value for _, e in known], color=colour, linewidth=0.6)
    axes.plot([h for h, _ in sure], [e.value for _, e in sure], color=colour, linewidth=1.8, label=label)
    bounded = [(h, e) for h, e in sure if math.isfinite(e.low)]
    steps, low, high = [h for h, _ in bounded], [e.low for _, e in bounded], [e.high for _, e in bounded]
    axes.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)


def _line(axes: Axes, estimates: Sequence[Estimate], dashes: str, label: str) -> None:
    """A floor or a ceiling."""
    known = [(h, e.value) for h, e in enumerate(estimates, 1) if math.isfinite(e.value)]
    axes.plot([h for h, _ in known], [v for _, v in known], color=MUTED, linewidth=1.2, linestyle=dashes, label=label)


def _write(path: Path, data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
