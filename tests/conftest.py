"""Shapes and types are checked while the tests run: jaxtyping's annotations, enforced by beartype on the whole package."""

import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
# Two threads on tiny tensors spin more than they compute, above all when the machine has other work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("jepaflow", "beartype.beartype")

import numpy as np
import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (third-party code may use it)
