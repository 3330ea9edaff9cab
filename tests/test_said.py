"""The demo's page tells belief and truth apart, also where they differ, and escapes what was said."""

import runpy
from pathlib import Path

import pytest

from jepaflow.common.files import write_json

STORY = {"refused": None, "words": "I believe it.", "believes_success": True, "true_success": True}


def test_the_page_says_what_is_believed_and_what_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / "1" / "story.json", {**STORY, "sentence": "sort <them>"})
    write_json(tmp_path / "2" / "story.json", {**STORY, "sentence": "again", "true_success": False})
    write_json(tmp_path / "3" / "story.json", {**STORY, "sentence": "tea", "refused": "I see no tea.", "words": None})
    (tmp_path / "1" / "film.mp4").write_bytes(b"")
    monkeypatch.setattr("sys.argv", ["said.py", str(tmp_path)])
    runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "said.py"), run_name="__main__")
    page = (tmp_path / "said.html").read_text()
    assert "sort &lt;them&gt;" in page and "<them>" not in page
    assert page.count("simulator: it did<") == 1 and page.count("simulator: it did not<") == 1
    assert "I see no tea." in page and "simulator: not asked" in page
    assert page.count("<video") == 1 and "1/film.mp4" in page
    assert "refused" in capsys.readouterr().out
