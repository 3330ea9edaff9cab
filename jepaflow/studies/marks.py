"""Marks: hashes by which a run is known again, of what it depends on and nothing else.

A training depends on what its stores hold, on its configuration (without what only changes the book-keeping) and on the code
of `LEARNING`; a figure on the code of `MEASURING` as well. Code counts as what it does: comments, docstrings and the
formatter's taste do not change a mark.
"""

import ast
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np

from jepaflow.data.store import Store
from jepaflow.training.config import TrainConfig

BOOK_KEEPING = ("save_every", "log_every", "val_every", "val_batches", "keep", "device", "compile")
"""Entries of a configuration that do not change what is learnt."""
SAMPLED_FRAMES = 64
"""Frames whose bytes enter the mark of a store."""
LEARNING = ("data", "worldmodel", "training")
MEASURING = ("data", "worldmodel", "diagnosis")
"""Packages whose code matters; the studies' own measures carry a version in their settings."""


def store_mark(path: Path) -> str:
    """Hash of what a store holds: how its frames were made, what its episodes did, and a sample of its frames."""
    store = Store(path)
    digest = hashlib.sha256()
    about = (store.fps, store.image_size, store.cameras, store.meta.get("image_fit"), store.ep_len.tolist())
    digest.update(repr(about).encode())
    for episode in range(store.num_episodes):
        digest.update(store.fingerprint(episode).encode())
    sample = np.unique(np.linspace(0, max(0, store.length - 1), SAMPLED_FRAMES).astype(np.int64))
    if store.length:
        digest.update(store.pixels(sample, store.cameras).tobytes())
    return digest.hexdigest()[:16]


def cell_mark(config: TrainConfig, stores: Sequence[str], code: str = "", start: str = "") -> str:
    """Hash of what a training depends on.

    Args:
        config: of the training; where its stores lie does not matter.
        stores: their marks.
        code: mark of the code that trains.
        start: mark of the training that it begins from; empty for none.
    """
    told = {key: value for key, value in asdict(config).items() if key not in BOOK_KEEPING}
    told["dataset"] = {key: value for key, value in told["dataset"].items() if key != "path"}
    text = json.dumps(
        [told, list(stores), *([code] if code else []), *([start] if start else [])], sort_keys=True, default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def code_mark(packages: tuple[str, ...], root: Path = Path(__file__).parents[1]) -> str:
    """Hash of what the modules of some packages say, without comments and docstrings.

    Args:
        packages: names of folders.
        root: where they lie.
    """
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(ast.dump(_without_strings(ast.parse(path.read_text()))).encode())
    return digest.hexdigest()[:12]


def _without_strings(tree: ast.Module) -> ast.Module:
    """The same tree without strings that stand alone (docstrings of modules, classes, functions and fields)."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_string(one)]  # type: ignore[attr-defined]
    return tree


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
