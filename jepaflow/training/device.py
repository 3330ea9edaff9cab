"""Which device and precision, and why: the reason is logged."""

from pathlib import Path

import torch

from jepaflow.common.errors import JepaflowError


def choose_device(wanted: str) -> tuple[torch.device, str]:
    """Resolve ``auto``; returns the device and the reason.

    Raises:
        JepaflowError: when a GPU was asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise JepaflowError(
            "--device cuda: PyTorch sees no GPU here. Use --device cpu, or install a CUDA build of PyTorch."
        )
    if wanted == "auto":
        cuda = torch.cuda.is_available()
        return torch.device("cuda" if cuda else "cpu"), "a GPU is there" if cuda else "no GPU is there"
    return torch.device(wanted), "as asked"


def choose_precision(wanted: str, device: torch.device) -> tuple[torch.dtype, str]:
    """Resolve ``auto``: bf16 on a GPU and on processors with native bf16 products, float32 elsewhere (emulated bf16 is ~100× slower)."""
    if wanted != "auto":
        return (torch.bfloat16 if wanted == "bf16" else torch.float32), "as asked"
    if device.type == "cuda":
        return torch.bfloat16, "GPUs multiply bf16 natively"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    for flag in ("amx_bf16", "avx512_bf16"):
        if flag in flags:
            return torch.bfloat16, f"the processor has {flag}"
    return torch.float32, "the processor has no native bf16"
