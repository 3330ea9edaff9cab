"""The five pictures that every report has: as SVG for the page, as PNG for everything else.

Where a chart holds thousands of marks they are a bitmap inside the SVG, axes and letters stay vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from jepaflow.diagnosis.canvas import INK, MUTED, OTHER, OWN, WARN, new_figure, png, style
from jepaflow.diagnosis.forecast import ForecastErrors
from jepaflow.diagnosis.geometry import Geometry
from jepaflow.diagnosis.measure import Diagnosis
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.vector import svg
from jepaflow.diagnosis.verdict import rank_limit

# Skill below this is off the chart: how bad a bad forecast is matters little, and would flatten the good ones.
SKILL_FLOOR = -1.25


@dataclass(frozen=True)
class Chart:
    """A picture as bytes of a PNG file on white, and as an ``<svg>`` element that follows the page's colours."""

    png: bytes
    svg: str


def draw_all(diagnosis: Diagnosis) -> dict[str, Chart]:
    """Name to chart, in the order of the report."""
    geometry = diagnosis.geometry
    drawings: dict[str, tuple[Callable[[Axes], None], tuple[float, float]]] = {
        "skill": (lambda ax: _skill(ax, diagnosis), (7.6, 4.1)),
        "episodes": (lambda ax: _episodes(ax, diagnosis.errors), (7.6, 3.0)),
        "spectrum": (lambda ax: _spectrum(ax, geometry), (4.6, 3.6)),
        "normality": (lambda ax: _normality(ax, geometry), (4.6, 3.6)),
        "pca": (lambda ax: _pca(ax, geometry), (7.6, 4.8)),
    }
    return {name: render(name, draw, size) for name, (draw, size) in drawings.items()}


def render(name: str, draw: Callable[[Axes], None], size: tuple[float, float]) -> Chart:
    """Draw on one pair of axes of ``size`` inches; ``name`` salts the ids inside the SVG."""
    figure = new_figure(*size)
    draw(style(figure.add_subplot()))
    return Chart(png(figure), svg(figure, name))


def _arrays(estimates: tuple[Estimate, ...]) -> tuple[ndarray, ndarray, ndarray]:
    return tuple(np.array([getattr(e, k) for e in estimates]) for k in ("value", "low", "high"))  # type: ignore[return-value]


def _skill(ax: Axes, diagnosis: Diagnosis) -> None:
    forecast = diagnosis.forecast
    h = np.arange(1, len(forecast.skill) + 1)
    ax.axhline(0, color=INK, linewidth=1.2)
    lowest = 0.0
    for estimates, colour, marker, label in (
        (forecast.shuffled, OTHER, "s", "another episode's actions"),
        (forecast.skill, OWN, "o", "its own actions"),
    ):
        value, low, high = _arrays(estimates)
        ax.fill_between(h, low, high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(h, value, marker=marker, markersize=5, color=colour, linewidth=2, label=label)
        lowest = min([lowest, *value[np.isfinite(value)], *low[np.isfinite(low)]])
    best = max((e.value for e in forecast.skill if np.isfinite(e.value)), default=0.0)
    floor = (
        SKILL_FLOOR if best > SKILL_FLOOR / 2 else 1.04 * lowest
    )  # a curve that is all below the floor is still shown
    ax.axhspan(min(floor, lowest) - 1, 0, color="#fdf2f2", zorder=0)
    ax.set_ylim(min(max(floor, lowest - 0.08), -0.12), 1.04)
    if not any(np.isfinite(e.value) for e in forecast.skill):
        ax.text(
            0.5, 0.5, "skill is undefined: the latents do not move", transform=ax.transAxes, ha="center", color=WARN
        )
    ax.set_xlim(0.7, len(h) + 0.3)
    ax.set_xticks(h)
    ax.text(len(h) + 0.25, 0.012, "repeating the last frame", ha="right", va="bottom", fontsize=8.5, color=INK)
    if lowest < floor:
        text = f"the lower curve goes down to {lowest:.1f}".replace("-", "−")
        ax.text(0.985, 0.03, text, transform=ax.transAxes, fontsize=8.5, color=MUTED, ha="right")
    step = diagnosis.facts.get("step_seconds")
    seconds = f" (one step = {step:.2g} s)" if step else ""
    ax.set_xlabel(f"model steps ahead, h{seconds}", color=INK)
    ax.set_ylabel("skill", color=INK)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], frameon=False, fontsize=9, loc="best")


def _episodes(ax: Axes, errors: ForecastErrors) -> None:
    copy = errors.copy[:, 0]
    skill = np.divide(errors.model[:, 0], copy, out=np.full(len(copy), np.nan), where=copy > 0)
    skill = np.maximum(1 - skill, SKILL_FLOOR)
    order = np.argsort(skill)
    x = np.arange(len(order))
    ax.bar(x, skill[order], color=[OWN if s > 0 else WARN for s in skill[order]], width=0.8)
    ax.axhline(0, color=INK, linewidth=1.2)
    ax.set_xlim(-1, max(len(order), 6))
    ax.set_ylim(min(-0.05, float(np.nanmin(skill, initial=0.0)) - 0.05), 1.02)
    ax.grid(axis="x", visible=False)
    if len(order) <= 30:
        ax.set_xticks(x, [str(errors.episodes[i]) for i in order], fontsize=8)
        ax.set_xlabel("held-out episode (number in the store), worst first", color=INK)
    else:
        worst = ", ".join(str(errors.episodes[i]) for i in order[:3])
        ax.set_xticks([])
        ax.set_xlabel(f"{len(order)} held-out episodes, worst first ({worst}, …)", color=INK)
    ax.set_ylabel("skill(1)", color=INK)


def _spectrum(ax: Axes, geometry: Geometry) -> None:
    total = geometry.spectrum.sum()
    share = geometry.spectrum / total if total > 0 else geometry.spectrum
    shown = share[share > 0]
    axis = np.arange(1, len(shown) + 1)
    ax.plot(axis, 100 * shown, color=OWN, linewidth=2, marker="o", markersize=2.5)
    if len(shown):
        ax.fill_between(axis, 100 * shown, color=OWN, alpha=0.15)
        ax.set_yscale("log")
        rank = geometry.effective_rank.value
        ax.axvline(rank, color=OTHER, linewidth=1.8, label=f"effective rank {rank:.1f}")
        ax.axvline(rank_limit(geometry.latent_dim), color=WARN, linestyle=":", linewidth=1.5, label="collapse")
        ax.legend(frameon=False, fontsize=9)
    else:
        ax.text(0.5, 0.5, "the latents do not vary", transform=ax.transAxes, ha="center", color=WARN)
    ax.set_xlim(0.5, geometry.latent_dim + 0.5)
    ax.set_xlabel(f"direction, largest first (D = {geometry.latent_dim})", color=INK)
    ax.set_ylabel("% of the variance", color=INK)


def _normality(ax: Axes, geometry: Geometry) -> None:
    normality = geometry.normality
    n, shown = normality.quantiles.shape
    if shown == 0:
        ax.text(0.5, 0.5, f"{n} samples are too few to test", transform=ax.transAxes, ha="center", color=MUTED)
        ax.set_axis_off()
        return
    probability = (torch.arange(1, n + 1, dtype=torch.float64) - 0.5) / n
    theory = torch.special.ndtri(probability).numpy()
    reach = float(max(3.0, abs(theory[0]) + 0.2))
    for column in range(shown):
        bad = bool(normality.failed[column])
        ax.plot(
            theory, normality.quantiles[:, column], color=WARN if bad else OWN, alpha=0.3, linewidth=1, rasterized=True
        )
    ax.plot([-reach, reach], [-reach, reach], color=INK, linewidth=1.3)
    ax.plot([], [], color=OWN, label="passes")
    ax.plot([], [], color=WARN, label="fails")
    ax.plot([], [], color=INK, label="normal")
    ax.legend(frameon=False, fontsize=9, loc="upper left")
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach - 0.6, reach + 0.6)
    ax.set_xlabel(f"normal quantile (n = {n})", color=INK)
    ax.set_ylabel(f"latents along {shown} directions", color=INK)


def _pca(ax: Axes, geometry: Geometry) -> None:
    points = geometry.pca
    episodes = np.unique(geometry.episode)
    for episode in episodes[:: max(1, len(episodes) // 12)][:12]:
        path = points[geometry.episode == episode]
        ax.plot(path[:, 0], path[:, 1], color=MUTED, alpha=0.35, linewidth=0.8, zorder=1, rasterized=True)
    size = float(np.clip(20000 / max(1, len(points)), 8, 26))
    dots = ax.scatter(
        points[:, 0], points[:, 1], c=geometry.when, cmap="viridis", s=size, linewidths=0, zorder=2, rasterized=True
    )
    figure = ax.figure
    assert isinstance(figure, Figure)
    bar = figure.colorbar(dots, ax=ax, pad=0.02)
    bar.set_label("time in the episode, start to end", color=INK)
    bar.set_ticks([0, 0.5, 1], labels=["start", "middle", "end"])
    ax.set_xlabel(f"first component, {100 * geometry.pca_share[0]:.0f} % of the variance", color=INK)
    ax.set_ylabel(f"second component, {100 * geometry.pca_share[1]:.0f} %", color=INK)
    ax.set_aspect("equal", adjustable="datalim")
