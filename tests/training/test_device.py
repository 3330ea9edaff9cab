"""Which path a training takes, and why; the paths that need a GPU are run where there is one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jepaflow.training.device import choose_compile, moved, pinned
from jepaflow.training.log import read_log
from tests.stores import write_store
from tests.training.test_objective import window

ROOT = Path(__file__).resolve().parents[2]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU here")


def test_compilation_is_for_gpus_unless_asked_for() -> None:
    cpu = torch.device("cpu")
    assert choose_compile("auto", cpu) == (False, "it is no faster on a CPU")
    assert choose_compile("on", cpu) == (True, "as asked") and choose_compile("off", cpu) == (False, "as asked")


def test_a_batch_stays_what_it_is_on_a_cpu() -> None:
    given = window()
    assert pinned(given, torch.device("cpu")) is given
    same = moved(given, torch.device("cpu"))
    assert same.pixels is given.pixels and same.blocks is given.blocks and same.where is given.where


@needs_gpu
def test_a_batch_reaches_the_gpu_unchanged() -> None:
    given, device = window(), torch.device("cuda")
    ready = pinned(given, device)
    assert ready.pixels.is_pinned() and ready.blocks.is_pinned()
    there = moved(ready, device)
    torch.cuda.synchronize()
    assert torch.equal(there.pixels.cpu(), given.pixels) and torch.equal(there.blocks.cpu(), given.blocks)


@needs_gpu
def test_a_gpu_trains_what_a_cpu_trains(tmp_path: Path) -> None:
    """Compiled float32 on the GPU against the CPU: first losses agree; bf16 resumes. In processes without type checks."""
    store = write_store(tmp_path / "s.h5", [40, 40])
    for name, options in {"cpu": "--device cpu", "cuda": "--device cuda --compile on"}.items():
        words = f"--steps 3 --batch-size 16 --precision float32 --log-every 1 {options}".split()
        _train(store, tmp_path / name, *words)
    cpu, gpu = (read_log(tmp_path / name)[0] for name in ("cpu", "cuda"))
    assert gpu["loss/sigreg"] == pytest.approx(cpu["loss/sigreg"], rel=1e-2)
    assert gpu["loss/prediction"] == pytest.approx(cpu["loss/prediction"], rel=0.1)  # dropout draws differ
    mixed = ("--steps", "4", "--batch-size", "16", "--device", "cuda", "--accumulate", "2")
    _train(store, tmp_path / "mixed", *mixed, "--minutes", "1e-9")
    assert "bfloat16" in _train(store, tmp_path / "mixed", *mixed, "--resume")
    assert (tmp_path / "mixed/checkpoints/000004").is_dir()


def _train(store: Path, run: Path, *words: str) -> str:
    command = [
        sys.executable,
        "-m",
        "jepaflow.cli.main",
        "train",
        "--dataset.path",
        str(store),
        "--output-dir",
        str(run),
    ]
    done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
