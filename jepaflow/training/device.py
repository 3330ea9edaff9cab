"""Which device, precision and compilation, and why: the reasons are logged. And how a batch gets to the device."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.data.windows import Window


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


def choose_compile(wanted: str, device: torch.device) -> tuple[bool, str]:
    """Resolve ``auto``: compile on a GPU where a first, tiny function compiles; on a CPU it was no faster."""
    if wanted != "auto":
        return wanted == "on", "as asked"
    if device.type != "cuda":
        return False, "it is no faster on a CPU"
    try:
        torch.compile(_probe)(torch.ones(8, device=device))
    except Exception as error:  # whatever is missing (Triton, a C compiler), training goes on without it
        return False, f"it fails here: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return True, "a GPU is there"


def _probe(x: Tensor) -> Tensor:
    return torch.sin(x) + 1


def prepare(modules: list[nn.Module], device: torch.device, precision: torch.dtype, compiled: bool) -> None:
    """Compile modules in place (their weights keep their names) and allow TF32 for what a bf16 training keeps in float32."""
    if device.type == "cuda" and precision == torch.bfloat16:
        torch.set_float32_matmul_precision("high")
    for module in modules:
        if compiled:
            module.compile()


def pinned(window: Window, device: torch.device) -> Window:
    """For a GPU, copy a batch into page-locked memory, from where it travels while the GPU works; else return it as it is."""
    if device.type != "cuda":
        return window
    proprio = None if window.proprio is None else window.proprio.pin_memory()
    return replace(window, pixels=window.pixels.pin_memory(), blocks=window.blocks.pin_memory(), proprio=proprio)


def moved(window: Window, device: torch.device) -> Window:
    """Move a batch to the device; a pinned one without waiting for it."""
    proprio = None if window.proprio is None else window.proprio.to(device, non_blocking=True)
    pixels, blocks = (part.to(device, non_blocking=True) for part in (window.pixels, window.blocks))
    return replace(window, pixels=pixels, blocks=blocks, proprio=proprio)
