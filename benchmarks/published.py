"""What others published of their models' weight. Nothing here was measured by us, and each figure says where it is from.

Arithmetic is rarely published; where it is *estimated* it is 2 × parameters × tokens of each part, embeddings left out, with
the parts spelled out. A decision is one call of the model; how many actions it answers with differs, and so does what the
models can do: the VLAs follow words and have seen many robots, ACT and our model know one task's data.
"""

from dataclasses import dataclass

RESNET18 = 2 * 1.82e9 / 224**2
"""FLOP a pixel of ResNet-18's trunk (1.82 billion multiply-adds at 224 × 224)."""


@dataclass(frozen=True)
class Figure:
    """A number, whether it was ``quoted`` or ``estimated``, and from where or how."""

    value: float
    kind: str
    source: str


@dataclass(frozen=True)
class Published:
    """A model as others describe it."""

    key: str
    """in row names"""
    title: str
    parameters: Figure
    bytes: Figure
    flops: Figure
    """of one decision"""
    rate: Figure
    """decisions a second"""
    hardware: str
    """that the rate was quoted on"""
    actions: int
    """control steps that a decision answers with"""


ACT = "arXiv 2304.13705 (ACT), section IV-C"
SMOLVLA = "arXiv 2506.01844 (SmolVLA)"
PI0 = "arXiv 2410.24164 (π0)"
OPENVLA = "arXiv 2406.09246 (OpenVLA)"

MODELS = (
    Published(
        "act", "ACT",
        Figure(80e6, "quoted", f"around 80M, {ACT}"),
        Figure(4 * 80e6, "estimated", "4 bytes a parameter, float32 as its code trains it"),
        Figure(
            4 * 480 * 640 * RESNET18 + 2 * (17.3e6 * 1202 + 37.6e6 * 100), "estimated",
            "ResNet-18 on four pictures of 480 × 640, 4 encoder layers (17.3 M) × 1,202 tokens, 7 decoder layers (37.6 M) × 100",
        ),
        Figure(1 / 0.01, "quoted", f"around 0.01 s, {ACT}"), "RTX 2080 Ti", 100,
    ),
    Published(
        "smolvla", "SmolVLA",
        Figure(450_046_176, "quoted", f"450 M in {SMOLVLA}; exactly so by the tensors of lerobot/smolvla_base"),
        Figure(2 * 450_046_176, "estimated", "2 bytes a parameter, bf16"),
        Figure(
            2 * (93e6 * 2048 + 160e6 * 177 + 100e6 * 50 * 10), "estimated",
            f"SigLIP (93 M) × 1,024 patches × two pictures of 512 px, 16 of 32 layers of SmolLM2-360M (160 M) × 177 tokens, action "
            f"expert (100 M) × 50 tokens × 10 steps, sizes from {SMOLVLA}",
        ),
        Figure(
            1 / 0.086, "quoted",
            "86 ms a call in a C++ runtime, transport included, arXiv 2606.08094 and github.com/VinRobotics/vla.cpp; the SmolVLA "
            "paper has no such figure",
        ), "RTX 3090", 50,
    ),
    Published(
        "pi0", "π0",
        Figure(3.3e9, "quoted", f"3.3 billion, {PI0}"),
        Figure(2 * 3.3e9, "estimated", "2 bytes a parameter, bf16; openpi's README asks for more than 8 GB of GPU memory"),
        Figure(
            2 * (0.4e9 * 768 + 2.0e9 * 788 + 0.3e9 * 51 * 10), "estimated",
            f"SigLIP (0.4 B) × three pictures of 256 patches, Gemma without embeddings (2.0 B) × 788 tokens, action expert (0.3 B) "
            f"× 51 tokens × 10 steps, sizes from {PI0}",
        ),
        Figure(1 / 0.073, "quoted", f"73 ms on board with three cameras, {PI0}, table I"), "RTX 4090", 50,
    ),
    Published(
        "openvla", "OpenVLA",
        Figure(7_541_237_184, "quoted", f"7B in {OPENVLA}; exactly so by the tensors of openvla/openvla-7b"),
        Figure(15_082_474_368, "quoted", f"tensors of openvla/openvla-7b in bf16; 15 GB of GPU memory in {OPENVLA}, section 3.5"),
        Figure(
            2 * (0.73e9 * 256 + 6.6e9 * 283), "estimated",
            f"DINOv2 and SigLIP (0.73 B) × 256 patches, Llama 2 without embeddings (6.6 B) × 283 tokens (256 patches, about 20 of "
            f"words, 7 of the action), sizes from {OPENVLA}",
        ),
        Figure(6.0, "quoted", f"approximately 6 Hz in bf16, without compilation, {OPENVLA}, section 3.5"), "RTX 4090", 1,
    ),
)  # fmt: skip
