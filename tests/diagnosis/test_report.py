"""The report as a file: whole, self-contained, every figure beside its floor, other commands' figures in it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from diagnosis_runs import QUICK, VAL, make_run
from diagnosis_worlds import write_store

from jepaflow.cli.diagnose import Args, run
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import write_json
from jepaflow.common.results import Row, write_results
from jepaflow.diagnosis.topics import KINDS, read_topics
from jepaflow.diagnosis.vector import themed
from jepaflow.diagnosis.words import label, plain

LENGTHS = [40, 34, 21, 45, 38, 30]
CHARTS = ("skill", "episodes", "spectrum", "normality", "pca")


class Page(HTMLParser):
    """Collects tags, and checks that they close in order."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text))


def read(path: Path) -> tuple[str, Page]:
    html = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(html)
    assert page.open == []
    return html, page


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs" / "a", write_store(tmp_path / "push.h5", LENGTHS))


def topic_row(name: str, value: float, floor: float, note: str = "") -> Row:
    return Row(name, value, value - 0.02, value + 0.02, 50, floors={"pixels": floor}, note=note)


def test_report_is_whole_and_self_contained(run_folder: Path) -> None:
    """With everything that diagnose measures by itself."""
    assert run(Args((run_folder,), draws=100)) == 0
    folder = run_folder / "diagnosis"
    html, page = read(folder / "report.html")
    made = {p.name for p in folder.iterdir()}
    assert made >= {"report.html", "metrics.json", "panels.png", "horizon.png", *(f"{name}.png" for name in CHARTS)}
    # Nothing is loaded: no address but those inside the file, whatever element it stands in.
    bare = re.sub(r"data:image/png;base64,[\w+/=]*|^// .*$", "", html, flags=re.MULTILINE)
    assert "http" not in bare and "//" not in bare and "@import" not in bare
    loads = [
        value or "" for _, name, value in page.attributes if name in ("src", "href", "xlink:href", "srcset", "action")
    ]
    assert all(value.startswith(("data:", "#")) for value in loads)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in loads if value.startswith("#")} <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)
    assert sum(tag == "svg" and name == "aria-label" for tag, name, _ in page.attributes) == len(CHARTS)
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["verdict"]["sentence"] in page.words and f"jepaflow diagnose {run_folder}" in page.words
    assert "nan" not in page.words.lower().split() and "inf" not in page.words.lower().split()
    assert figures["facts"]["judged_episodes"] == len(VAL) and len(figures["skill"]) == 10
    assert figures["facts"]["step_seconds"] == 0.2 and figures["close_up"] is not None


def test_every_figure_has_its_floor_and_stands_in_the_page(run_folder: Path) -> None:
    run(Args((run_folder,), draws=50))
    figures = json.loads((run_folder / "diagnosis" / "metrics.json").read_text())
    rows = {row["name"]: row for row in figures["rows"]}
    assert {"skill@1", "skill@10", "effective_rank", "latent_spread", "straightness", "episodes_forecast"} <= set(rows)
    assert all(row["floors"] for row in rows.values() if row["name"] != "normality_by_time")
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows.values())
    _, page = read(run_folder / "diagnosis" / "report.html")
    assert all(f"{name}:" in page.words for name in rows)
    assert all(one["finding"] in page.words and one["figure"] in page.words for one in figures["advice"])


def test_what_other_commands_measured_is_in_it_and_what_nobody_did_is_named(run_folder: Path) -> None:
    folder = run_folder / "diagnosis"
    rows = [
        topic_row("so101/probe/object/linear/r", 0.5, 0.7, "a model at step 7"),
        topic_row("so101/probe/object/mlp/r", 0.9, 0.6),
    ]
    write_results(folder / "probes.json", "jepaflow probe RUN --episodes 3", rows)
    (folder / "probes.png").write_bytes(b"\x89PNG not drawn")
    write_json(run_folder / "decoder.json", {"rows": [vars(topic_row("decoder/psnr", 20.0, 25.0))]})
    run(Args((run_folder,), skip=QUICK, draws=50, json=run_folder / "all.json"))
    every = {row["name"] for row in json.loads((run_folder / "all.json").read_text())["rows"]}
    assert {"a/skill@1", "a/probe/object/linear/r", "a/decoder/psnr"} <= every
    html, page = read(folder / "report.html")
    assert "jepaflow probe RUN --episodes 3" in page.words and "iVBORyBub3QgZHJhd24=" in html
    figures = json.loads((folder / "metrics.json").read_text())
    assert {"probe/object/linear/r", "decoder/psnr"} <= {row["name"] for row in figures["rows"]}
    findings = [one["finding"] for one in figures["advice"]]
    assert "Hard to read from the latent: object" in findings and "The decoder draws worse than its floor" in findings
    assert f"jepaflow surprise {run_folder}" in page.words and f"jepaflow monitor {run_folder}" in page.words
    assert "make them again" not in page.words


def test_figures_of_another_checkpoint_are_called_stale(run_folder: Path) -> None:
    path = run_folder / "diagnosis" / "surprise.json"
    write_results(
        path, "jepaflow surprise RUN", [topic_row("surprise/teleport/auroc", 0.99, 0.5, "run a at step 1,200")]
    )
    run(Args((run_folder,), skip=QUICK, draws=50))
    assert (
        "of the checkpoint at step 1,200, this report is of step 7"
        in read(run_folder / "diagnosis" / "report.html")[1].words
    )


def test_a_broken_topic_names_its_file_and_how_to_make_it(run_folder: Path) -> None:
    write_json(run_folder / "diagnosis" / "monitor.json", {"rows": [{"name": "slip"}]})
    with pytest.raises(JepaflowError, match=r"monitor\.json is not a results file .* jepaflow monitor"):
        read_topics(run_folder)
    for damaged in ([1], {"rows": [3]}, {"rows": 3}):
        write_json(run_folder / "diagnosis" / "monitor.json", damaged)
        with pytest.raises(JepaflowError, match="is not a results file"):
            read_topics(run_folder)


def test_topics_of_an_empty_folder_are_all_missing(tmp_path: Path) -> None:
    topics = read_topics(tmp_path, {"probes": "It tells nothing."})
    assert [t.kind for t in topics] == list(KINDS) and not any(t.there for t in topics)
    assert topics[0].why == "It tells nothing."


def test_names_are_escaped(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "<b>&amp;", write_store(tmp_path / "push.h5", LENGTHS))
    run(Args((folder,), skip=QUICK, draws=20))
    html, page = read(folder / "diagnosis" / "report.html")
    assert "<b>&amp;" not in html and "What <b>&amp; sees" in page.words


def test_a_chart_takes_the_colours_of_the_page() -> None:
    drawn = (
        '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg width="9pt" height="8pt" viewBox="0 0 9 8" xmlns="http://www.w3.org/2000/svg">'
        '<metadata>http://x</metadata><g id="a" style="fill: #1f2933; stroke: #0b69a3"/><use href="#a" clip-path="url(#a)"/></svg>'
    )
    assert themed(drawn, "one") == (
        '<svg viewBox="0 0 9 8"><g id="one-a" style="fill: var(--ink); stroke: var(--own)"/>'
        '<use href="#one-a" clip-path="url(#one-a)"/></svg>'
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0.00"),
        (-0.5, "−0.50"),
        (0.0042, "0.0042"),
        (-0.00123, "−0.0012"),
        (0.64, "0.64"),
        (31.25, "31.2"),
        (1204.4, "1,204"),
    ],
)
def test_figures_in_words(value: float, said: str) -> None:
    assert plain(value) == said


def test_names_in_words() -> None:
    assert label("skill@3") == "Skill, 3 model steps ahead" and label("skill@1") == "Skill, 1 model step ahead"
    assert label("isometry_near/cube0") == "Latent distance follows the world's, near frames, cube0"
    assert label("probe/gripper_velocity/linear/ahead5/r") == "Linear probe of gripper velocity, imagined 5 ahead: r"
    assert label("surprise/pass_through/auroc") == "Surprise: pass through, AUROC"
    assert label("decoder/psnr_apart/phone") == "Decoder: PSNR where frames differ, phone"
