"""Pictures of the horizon: skill far ahead, and how decoded imagination drifts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy import ndarray

from jepaflow.diagnosis.canvas import GOOD, INK, MUTED, OTHER, OWN, THIRD, new_figure, png, style
from jepaflow.diagnosis.drift import Drift
from jepaflow.diagnosis.horizon import FEWEST, Horizon
from jepaflow.diagnosis.resample import Estimate

LOWEST = -1.0
SOURCES = {
    "reconstructed": (GOOD, "reconstructed from the real frame: the decoder's best"),
    "imagined": (OWN, "imagined"),
    "copy_last": (INK, "the last real frame"),
    "median_frame": (MUTED, "the training's median frame"),
}
SCORES = {"psnr": "PSNR, dB", "psnr_apart": "PSNR where something is, dB", "ssim": "SSIM"}


def draw_horizon(found: Horizon, step_seconds: float | None = None) -> bytes:
    """Skill with its own actions, with another episode's and of the mean latent; below, how many windows reach so far."""
    figure = new_figure(7.6, 4.8)
    top, bottom = figure.subplots(2, 1, height_ratios=[5, 1], sharex=True)
    h = np.arange(1, found.reach + 1)
    style(top).axhline(0, color=INK, linewidth=1.2)
    lowest = 0.0
    curves = (
        (found.forecast.shuffled, OTHER, "-", "another episode's actions"),
        (found.mean, THIRD, "--", "the mean latent, always"),
        (found.forecast.skill, OWN, "-", "its own actions"),
    )
    for estimates, colour, line, label in curves:
        value, low, high = _curve(estimates)
        top.fill_between(h, low, high, color=colour, alpha=0.16, linewidth=0)
        marker = "o" if len(h) < 3 else None
        _line(
            top,
            h,
            value,
            estimates,
            {"color": colour, "linewidth": 2, "label": label, "marker": marker, "linestyle": line},
        )
        lowest = float(np.nanmin([lowest, np.nanmin(value, initial=0.0), np.nanmin(low, initial=0.0)]))
    top.set_ylim(max(LOWEST, lowest) - 0.08, 1.04)
    top.axhspan(-1e3, 0, color="#fdf2f2", zorder=0)
    top.text(found.reach, 0.012, "repeating the last frame", ha="right", va="bottom", fontsize=8.5, color=INK)
    top.set_ylabel("skill", color=INK)
    handles, labels = top.get_legend_handles_labels()
    top.legend(handles[::-1], labels[::-1], frameon=False, fontsize=9, loc="best")
    style(bottom).bar(h, [e.n for e in found.forecast.skill], color=MUTED, width=0.8)
    bottom.set_ylabel("windows", color=INK)
    for one in sorted({1, *range(10, found.reach + 1, 10)}):
        estimate = found.forecast.skill[one - 1]
        text, side = (f"{estimate.episodes} episodes", "left") if one == 1 else (str(estimate.episodes), "center")
        place = {"textcoords": "offset points", "ha": side, "fontsize": 8, "color": INK}
        bottom.annotate(text, (one, estimate.n), (0, 2), **place)
    bottom.set_ylim(0, 1.35 * max(e.n for e in found.forecast.skill))
    bottom.grid(axis="x", visible=False)
    bottom.set_xlim(0.3, found.reach + 0.7)
    seconds = f" (one step = {step_seconds:.2g} s)" if step_seconds else ""
    bottom.set_xlabel(f"model steps ahead, open loop{seconds}", color=INK)
    figure.align_ylabels([top, bottom])
    return png(figure)


def _curve(estimates: Sequence[Estimate]) -> tuple[ndarray, ndarray, ndarray]:
    """Values and the bounds of the band."""
    value, low, high = np.array([(e.value, e.low, e.high) for e in estimates], np.float64).T
    few = np.array([e.episodes < FEWEST for e in estimates])
    return value, np.where(few, np.nan, low), np.where(few, np.nan, high)


def _line(axes: Axes, x: ndarray, y: ndarray, estimates: Sequence[Estimate], look: dict[str, Any]) -> None:
    """A curve, faint where it rests on fewer than five episodes: what it does there is the luck of these."""
    known = sum(e.episodes >= FEWEST for e in estimates) or len(x)
    axes.plot(x[:known], y[:known], **look)
    if known < len(x):
        axes.plot(x[known - 1 :], y[known - 1 :], **{**look, "label": None, "alpha": 0.3})


def draw_drift(found: Drift) -> bytes:
    """A score a panel against the horizon, with ceiling and floors."""
    figure = new_figure(8.4, 3.7)
    panels = figure.subplots(1, len(found.scores))
    for axes, (score, sources) in zip(panels, found.scores.items()):
        _score(style(axes), found.steps, sources)
        axes.set_title(SCORES[score], fontsize=10, color=INK)
    panels[len(panels) // 2].set_xlabel("model steps ahead, open loop", color=INK)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    return png(figure)


def _score(axes: Axes, steps: Sequence[int], sources: dict[str, tuple[Estimate, ...]]) -> None:
    for source, (colour, label) in SOURCES.items():
        value, low, high = _curve(sources[source])
        own = source == "imagined"
        axes.fill_between(steps, low, high, color=colour, alpha=0.18 if own else 0.07, linewidth=0)
        width, size = (2.2, 4) if own else (1.5, 2.5)
        look = {"color": colour, "linewidth": width, "label": label, "marker": "o", "markersize": size}
        _line(axes, np.asarray(steps), value, sources[source], look)
