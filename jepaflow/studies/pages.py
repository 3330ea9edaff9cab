"""Pages of studies, from their ``summary.json`` alone: a report beside it, and what is published under ``docs/studies``.

Nothing is written by hand: to change what a page says, run the study again or change what it says of its figures.
"""

from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import jinja2
import torch

from jepaflow import __version__
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.diagnosis.page import embedded, write_page
from jepaflow.studies.outcome import SUMMARY, Outcome, Table, read_outcome

Draw = Callable[[Outcome], dict[str, bytes]]
HEAD = """# Studies

Whole experiments, each many trainings that differ in one thing. Written by `jepaflow study publish` from `results/studies`, never
by hand. Each page ends with the commands that make it again; the same study takes your own store:
`jepaflow study density --dataset.path MINE.h5 --budget 30m`. It goes on where it was interrupted, and with `--ray local` it fills
all cores.

"""


def drawer(study: str) -> Draw:
    """How a kind of study is drawn.

    Raises:
        JepaflowError: for an unknown one.
    """
    from jepaflow.studies import arms_page, blindness_page, density_figure, films_page, looks_page, views_page

    known: dict[str, Draw] = {
        "density": density_figure.draw_density,
        "views": views_page.draw_views,
        "blindness": blindness_page.draw_blindness,
        "arms": arms_page.draw_arms,
        "films": films_page.draw_films,
        "looks": looks_page.draw_looks,
    }
    if study not in known:
        raise JepaflowError(f"There is no study {study!r} that could be drawn. Known: {', '.join(known)}.")
    return known[study]


def write_report(folder: Path) -> Path:
    """Write ``report.html`` beside a summary; returns its path.

    Raises:
        JepaflowError: when there is no summary.
    """
    study, outcome = read_outcome(folder / SUMMARY)
    images = {name: embedded(image) for name, image in drawer(study)(outcome).items()}
    values = {"study": study, "outcome": outcome, "title": outcome.title, "images": images}
    return write_page(folder / "report.html", _fill(values))


def _fill(values: dict[str, object]) -> str:
    """The study's template over the frame of all reports."""
    homes = {"study.html.j2": "jepaflow.studies"}
    loader = jinja2.FunctionLoader(
        lambda name: files(homes.get(name, "jepaflow.diagnosis")).joinpath(name).read_text(encoding="utf-8")
    )
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    told = {"date": "made from summary.json", "version": __version__, "torch": torch.__version__}
    return environment.get_template("study.html.j2").render(**told, **values)


def publish(results: Path, docs: Path) -> list[Path]:
    """Write a page for every study under ``results``, its figures beside it, and an index.

    Args:
        results: folder of the studies' folders.
        docs: folder of the pages.

    Raises:
        JepaflowError: when there is nothing to publish.
    """
    found = sorted(results.glob(f"*/{SUMMARY}"))
    if not found:
        raise JepaflowError(f"There is no study in {results}. Run one first, for example: jepaflow study density")
    pages, lines = [], []
    for path in found:
        name = path.parent.name
        study, outcome = read_outcome(path)
        images = drawer(study)(outcome)
        for image, data in images.items():
            with atomic_path(docs / f"{_file(name, image)}.png") as temporary:
                temporary.write_bytes(data)
        pages.append(_write(docs / f"{name}.md", page_text(name, outcome, list(images))))
        lines.append(f"- **[{outcome.title}]({name}.md)** {outcome.question} {outcome.answers[0]}")
    return [*pages, _write(docs / "README.md", HEAD + "\n".join(lines) + "\n")]


def page_text(name: str, outcome: Outcome, images: Sequence[str]) -> str:
    """A page as Markdown: question, answer, figure, tables, method, limits."""
    parts = [f"# {outcome.title}", f"**{outcome.question}**", "## Answer"]
    parts.append("\n".join(f"- {line}" for line in outcome.answers))
    for image in images:
        caption = outcome.captions.get(image, "")
        parts.append(
            f"![{image}]({_file(name, image)}.png)\n\n*{caption}*"
            if caption
            else f"![{image}]({_file(name, image)}.png)"
        )
    parts += [_table(table) for table in outcome.tables]
    for title, lines in (("How it was measured", outcome.method), ("What it does not say", outcome.limits)):
        parts += [f"## {title}", "\n".join(f"- {line}" for line in lines)]
    if outcome.command:
        parts.append(f"## Make it again\n\n```bash\n{outcome.command}\njepaflow study publish\n```")
    parts.append(
        f"All figures with their intervals: [summary.json](../../results/studies/{name}/{SUMMARY}); this page is made from it."
    )
    return "\n\n".join(parts) + "\n"


def _file(name: str, image: str) -> str:
    return name if image in name else f"{name}_{image}"


def _table(table: Table) -> str:
    def line(entries: Sequence[str]) -> str:
        return "| " + " | ".join(entry.replace("|", "\\|") for entry in entries) + " |"

    body = [line(table.heads), "|" + " --- |" * len(table.heads), *(line(row) for row in table.rows)]
    return f"## {table.title}\n\n" + "\n".join(body) + (f"\n\n{table.note}" if table.note else "")


def _write(path: Path, text: str) -> Path:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
