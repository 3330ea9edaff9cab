"""Colours and the sheet of paper: every picture of the diagnosis looks alike.

Drawn on figure objects of their own: no global pyplot state. Always on white, so that a report in dark mode shows a picture
as a card.
"""

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
OWN, OTHER, WARN = "#0b69a3", "#d97706", "#c81e1e"
GOOD, THIRD = "#0f766e", "#7c3aed"
CLASSES = ("#0b69a3", "#d97706", "#0f766e", "#c81e1e", "#7c3aed", "#ca8a04", "#db2777", "#475569")
DPI = 160


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure; sizes in inches of 160 pixels."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def style(axes: Axes) -> Axes:
    """Give axes the house style; returns them."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def png(figure: Figure) -> bytes:
    """The figure as bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
