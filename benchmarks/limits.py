"""What this machine can do at best: matrix products in float32 and bfloat16, and copying memory.

The rate of products is the best of a few square ones and of the shapes that a benchmark uses, each given a fraction of a
second after a warm-up: a share of it says how far from the hardware the work is, not from a data sheet. Where bfloat16 is
emulated (no AMX, no AVX-512 BF16) its rate is a hundredth of float32's, and one product tells enough.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from jepaflow.common.results import Row

Shape = tuple[int, int, int]
"""m, k, n: [m k] @ [k n]."""

SQUARES: tuple[Shape, ...] = ((256, 256, 256), (512, 512, 512), (1024, 1024, 1024))
BIG_SQUARES: tuple[Shape, ...] = ((2048, 2048, 2048), (4096, 4096, 4096), (8192, 8192, 8192))


@dataclass(frozen=True)
class Limits:
    """Measured rates."""

    float32: float
    """FLOP/s of matrix products."""
    bf16: float
    """FLOP/s of matrix products."""
    copy: float
    """Bytes read and written a second."""
    threads: int
    device: str

    def share(self, flops: float) -> str:
        """Say a rate, and its share of the limits."""
        native = [f"{flops / self.float32:.0%} of float32's"]
        if self.bf16 > self.float32:
            native.append(f"{flops / self.bf16:.0%} of bf16's")
        return f"{flops / 1e9:,.1f} GFLOP/s, {' and '.join(native)} measured GEMM rate"

    def describe(self) -> str:
        """One line for the terminal."""
        return (
            f"Limits here: GEMM {self.float32 / 1e9:,.1f} GFLOP/s in float32, {self.bf16 / 1e9:,.1f} in bf16; "
            f"copy {self.copy / 1e9:,.1f} GB/s; {self.where}."
        )

    @property
    def where(self) -> str:
        """Device and threads."""
        return self.device if self.device != "cpu" else f"{self.threads} thread{'s' * (self.threads != 1)}"

    def rows(self) -> list[Row]:
        """The limits as results: shares mean nothing without them."""
        note = f"best of several; {self.where}"
        return [
            Row(f"speed/limit/{name}", rate, rate, rate, 1, 1, unit, note=note)
            for name, rate, unit in (
                ("gemm_float32", self.float32, "FLOP/s"),
                ("gemm_bf16", self.bf16, "FLOP/s"),
                ("copy", self.copy, "B/s"),
            )
        ]


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def gemm_rate(dtype: torch.dtype, shapes: Sequence[Shape], device: torch.device, seconds: float) -> float:
    """Return the best FLOP/s over shapes, each multiplied for about `seconds` (at least once)."""
    best = 0.0
    for m, k, n in shapes:
        a, b = (torch.randn(shape, device=device).to(dtype) for shape in ((m, k), (k, n)))
        took = _once(a, b, device)
        if took > 2 * seconds:  # emulated: a larger product would take minutes and say the same
            return max(best, 2 * m * n * k / took)
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            took = min(took, _once(a, b, device))
        best = max(best, 2 * m * n * k / took)
    return best


def _once(a: torch.Tensor, b: torch.Tensor, device: torch.device) -> float:
    begin = time.perf_counter()
    a @ b
    synchronise(device)
    return time.perf_counter() - begin


def copy_rate(device: torch.device, megabytes: int, seconds: float) -> float:
    """Return the best rate of copying a buffer too large for the caches, bytes read plus bytes written a second."""
    source = torch.ones(megabytes << 18, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    best, begin = 0.0, time.perf_counter()
    while best == 0.0 or time.perf_counter() - begin < seconds:
        started = time.perf_counter()
        target.copy_(source)
        synchronise(device)
        best = max(best, 2 * source.numel() * 4 / (time.perf_counter() - started))
    return best


def measure(device: torch.device, shapes: Sequence[Shape] = (), seconds: float = 0.3, megabytes: int = 256) -> Limits:
    """Measure this machine.

    Args:
        device: where.
        shapes: products of the benchmark beside the square ones.
        seconds: for each shape.
        megabytes: size of the buffer that is copied.
    """
    cuda = device.type == "cuda"
    wanted = [*SQUARES, *(BIG_SQUARES if cuda else ()), *shapes]
    rates = [gemm_rate(dtype, wanted, device, seconds) for dtype in (torch.float32, torch.bfloat16)]
    name = torch.cuda.get_device_name(device) if cuda else "cpu"
    return Limits(rates[0], rates[1], copy_rate(device, megabytes, seconds), torch.get_num_threads(), name)
