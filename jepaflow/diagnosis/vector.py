"""Charts as inline SVG that follow the page: its ink, its paper, its letters, by day and by night.

Matplotlib writes the colours of :mod:`jepaflow.diagnosis.canvas` as hex strings; here each becomes a CSS variable that
the page sets for light and for dark. Letters stay letters (they can be searched, copied and printed sharply) and take
the page's font. What an SVG carries for other programs (declaration, metadata, name spaces) is left out: inside HTML it
has no meaning, and the report shall hold no address of anything.
"""

import io
import re

import matplotlib
from matplotlib.figure import Figure

from jepaflow.diagnosis.canvas import GOOD, GRID, INK, MUTED, OTHER, OWN, THIRD, WARN

# Colour of a drawing to variable of the page; ``#fdf2f2`` is the ground below zero.
VARIABLES = {
    INK: "--ink",
    MUTED: "--soft",
    GRID: "--line",
    OWN: "--own",
    OTHER: "--other",
    WARN: "--warn",
    GOOD: "--good",
    THIRD: "--seven",
    "#fdf2f2": "--bad",
}


def svg(figure: Figure, name: str) -> str:
    """A figure as an ``<svg>`` element for inline use; the same figure gives the same text.

    Args:
        figure: drawn already, on a transparent ground.
        name: salts the element ids, so that two charts of one page do not clip each other.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return themed(buffer.getvalue(), name)


def themed(text: str, name: str) -> str:
    """Make an SVG document an element of a page: colours become variables, ids are the chart's own."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'(?<=base64,)[^"]*', lambda data: re.sub(r"\s", "", data.group()), text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="|url\()#([^")]+)', rf"\1#{name}-\2", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    # Black is SVG's default and not written down: the page's rule for text gives such letters its ink.
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"'?DejaVu Sans'?[^;\"]*", "inherit", text)
    return re.sub(r"\n\s*\n", "\n", text).strip()
