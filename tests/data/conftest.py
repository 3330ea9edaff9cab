"""Datasets shared by the tests of this folder, made once; and the place of the real ones."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.builders import make_v2, make_v3


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("datasets")
    return {"v3": make_v3(base / "v3"), "v2": make_v2(base / "v2")}


@pytest.fixture
def v3(_made: dict[str, Path]) -> Path:
    """A sound v3.0 dataset; read only."""
    return _made["v3"]


@pytest.fixture
def v2(_made: dict[str, Path]) -> Path:
    """A sound v2.1 dataset; read only."""
    return _made["v2"]


@pytest.fixture
def spoil(_made: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copies of the sound datasets, to be spoilt: ``spoil("v3")``."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(_made[name], tmp_path / name))

    return copy


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real datasets, or a skip that says what is missing."""
    repository = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("JEPAFLOW_REALDATA", repository.parent / "shared" / "data"))
    if not (folder / "cr5_banana_v30").is_dir():
        pytest.skip("no real data: set $JEPAFLOW_REALDATA, or put shared/data beside the repository")
    return folder
