"""Reports opened in a real browser: nothing on the console, nothing asked of the network, sorting, day, night and paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from diagnosis_browser import Browser, find_browser
from diagnosis_runs import LENGTHS, QUICK, make_run
from diagnosis_worlds import write_store

from jepaflow.cli.diagnose import Args, run

PUBLISHED = Path(__file__).parents[2] / "docs" / "reports"
BROWSER = find_browser()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine (apt-get install chromium)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: the first with its full report, and both compared."""
    root = tmp_path_factory.mktemp("browser")
    store = write_store(root / "push.h5", LENGTHS)
    runs = (make_run(root / "a", store), make_run(root / "b", store, seed=1))
    run(Args((runs[0],), draws=50))
    run(Args(runs, skip=QUICK, draws=50, compare=True, output_dir=root / "compared"))
    return root


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert BROWSER is not None
    with Browser(BROWSER) as one:
        yield one


@pytest.mark.parametrize("page", ["a/diagnosis/report.html", "compared/report.html"])
@pytest.mark.parametrize("dark", [False, True])
def test_a_report_opens_in_silence_and_alone(browser: Browser, folder: Path, page: str, dark: bool) -> None:
    browser.night(dark)
    browser.open(folder / page)
    assert browser.complaints() == [] and browser.requests() == []
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the window"
    assert browser.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    letters = browser.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    brightness = [sum(int(part) for part in c[4:-1].split(",")) for c in (ground, letters)]
    assert (brightness[0] < 200 < 500 < brightness[1]) if dark else (brightness[1] < 200 < 500 < brightness[0])


@pytest.mark.parametrize("page", sorted(PUBLISHED.glob("*.html")), ids=lambda page: page.name)
def test_published_reports_are_small_and_open_in_silence_and_alone(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.complaints() == [] and browser.requests() == []
    assert page.stat().st_size <= 5_000_000


def test_the_browser_of_these_tests_does_see_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    """A page with an error, a complaint and two requests: without this, silence would prove nothing."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<img src='http://127.0.0.1:9/x.png'><script>fetch('http://127.0.0.1:9/y').catch(() => 0); console.log('a word');"
        "undefined.thing</script>"
    )
    browser.open(bad)
    assert {"http://127.0.0.1:9/x.png", "http://127.0.0.1:9/y"} <= set(browser.requests())
    said = " ".join(browser.complaints())
    assert "a word" in said and "Uncaught" in said


def test_a_click_on_a_heading_sorts_by_number_up_and_down(browser: Browser, folder: Path) -> None:
    browser.open(folder / "a/diagnosis/report.html")
    column = "[...document.querySelectorAll('#table-skill tbody tr')].map(row => Number(row.cells[2].dataset.sort))"
    before = browser.evaluate(column)
    click = "document.querySelectorAll('#table-skill th button')[2].click()"
    browser.evaluate(click)
    assert browser.evaluate(column) == sorted(before) != before
    heading = "document.querySelectorAll('#table-skill th')[2].getAttribute('aria-sort')"
    assert browser.evaluate(heading) == "ascending"
    browser.evaluate(click)
    assert browser.evaluate(column) == sorted(before, reverse=True)
    assert browser.evaluate(heading) == "descending"
    names = (
        "[...document.querySelectorAll('#table-figures tbody tr')].map(row => row.cells[0].textContent.toLowerCase())"
    )
    browser.evaluate("document.querySelector('#table-figures th button').click()")
    assert browser.evaluate(names) == sorted(browser.evaluate(names))


def test_it_prints(browser: Browser, folder: Path) -> None:
    browser.night(True)
    browser.open(folder / "a/diagnosis/report.html")
    data = browser.pdf()
    assert data.startswith(b"%PDF") and data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") >= 3
    assert browser.evaluate("[...document.querySelectorAll('details')].every(part => part.open)"), (
        "all is shown on paper"
    )
    browser.call(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.call("Emulation.setEmulatedMedia", media="")


def test_on_a_phone_nothing_runs_out_of_the_page(browser: Browser, folder: Path) -> None:
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    browser.open(folder / "a/diagnosis/report.html")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    browser.call("Emulation.clearDeviceMetricsOverride")
