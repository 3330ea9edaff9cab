"""The house stands: a room imports only from rooms above it, heavy things stay optional, nothing loads pickles."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "jepaflow"
ORDER = [
    "common",
    "data",
    "worldmodel",
    "training",
    "sims",
    "planning",
    "subgoals",
    "diagnosis",
    "evaluation",
    "studies",
    "robot",
    "cockpit",
    "cli",
]
FORBIDDEN = {"torchvision", "timm", "lerobot", "stable_worldmodel", "pickle", "ray", "wandb"}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_dependencies_point_up(path: Path) -> None:
    parts = path.relative_to(PACKAGE).parts
    room = parts[0] if len(parts) > 1 else None
    assert room is None or room in ORDER, f"{room} is not a room of the architecture"
    for name in imports(path):
        assert name.split(".")[0] not in FORBIDDEN, f"{path} imports {name}"
        words = name.split(".")
        if words[0] == "jepaflow" and len(words) > 1 and room is not None and words[1] in ORDER:
            assert ORDER.index(words[1]) <= ORDER.index(room), f"{path}: {room} must not import {words[1]}"


def test_sims_know_nothing_of_latents() -> None:
    for path in (PACKAGE / "sims").rglob("*.py"):
        assert not any(n.startswith(("jepaflow.worldmodel", "jepaflow.training", "torch")) for n in imports(path)), path


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_are_small_and_said(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 500
    assert not text.strip() or ast.get_docstring(tree), "a module states its design decision"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 80, node.name
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print" or "cli" in path.parts, "libraries never print"


def test_no_pickle_is_allowed_in() -> None:
    for path in FILES:
        text = path.read_text()
        assert "allow_pickle=True" not in text and "weights_only=False" not in text and "torch.load" not in text, path
