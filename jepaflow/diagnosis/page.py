"""The page that every report is written on: templates of this package, filled, and nothing taken from anywhere else."""

import base64
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import torch

from jepaflow import __version__
from jepaflow.common.files import atomic_path
from jepaflow.diagnosis.verdict import Sight

# Colour of a verdict: green to plan with, amber with care, red not at all, grey unknown.
COLOURS: dict[Sight, str] = {
    "sighted": "green",
    "short-sighted": "amber",
    "deaf": "amber",
    "blind": "red",
    "collapsed": "red",
    "undecided": "grey",
}


def fill(template: str, **values: Any) -> str:
    """A template of this package as HTML; every value is escaped but charts, which must be marked safe."""
    loader = jinja2.FunctionLoader(lambda name: files("jepaflow.diagnosis").joinpath(name).read_text(encoding="utf-8"))
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(
        date=datetime.now(UTC).strftime("%d %B %Y"), version=__version__, torch=torch.__version__, **values
    )


def embedded(image: bytes) -> str:
    """A PNG as an address that holds the picture itself."""
    return "data:image/png;base64," + base64.b64encode(image).decode()


def write_page(path: Path, text: str) -> Path:
    """Write a page, whole or not at all; returns its path.

    Raises:
        JepaflowError: when it cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
