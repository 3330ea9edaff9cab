"""A predictor of DINO-WM's size (arXiv 2411.04983), to say what planning over patch tokens costs.

A frame is 196 patch tokens of 384 numbers (DINOv2 ViT-S/14), each with the action's embedding beside it; a transformer of
6 layers and 16 heads sees 3 frames, all tokens of a frame see each other and the frames before. Weights are random: only
the time is of interest, and it does not depend on them. Encoding frames is left out, in its favour.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class DinoSize:
    """Sizes; the paper's are the default."""

    patches: int = 196
    width: int = 384
    action_width: int = 10
    frames: int = 3
    depth: int = 6
    heads: int = 16
    dim_head: int = 64
    mlp: int = 2048

    @property
    def token(self) -> int:
        """Numbers in a token."""
        return self.width + self.action_width

    def predicted(self, frames: int) -> int:
        """FLOP of one pass over so many frames."""
        tokens, inner = frames * self.patches, self.heads * self.dim_head
        linears = 2 * tokens * self.token * (4 * inner + 2 * self.mlp)
        return self.depth * (linears + 4 * tokens**2 * inner)


class Layer(nn.Module):
    """Pre-norm transformer layer with a mask."""

    def __init__(self, size: DinoSize) -> None:
        super().__init__()
        dim, inner = size.token, size.heads * size.dim_head
        self.heads = size.heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_qkv, self.to_out = nn.Linear(dim, 3 * inner, bias=False), nn.Linear(inner, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, size.mlp), nn.GELU(), nn.Linear(size.mlp, dim))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B T C] → [B T C]."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.to_qkv(self.norm1(x)).chunk(3, -1)
        )
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.to_out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class DinoWM(nn.Module):
    """Imagines patch tokens, frame by frame."""

    def __init__(self, size: DinoSize, entries: int) -> None:
        super().__init__()
        self.size = size
        self.action = nn.Linear(entries, size.action_width)
        self.position = nn.Parameter(torch.randn(1, size.frames * size.patches, size.token) * 0.02)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.token)

    def predict(self, x: Tensor, blocks: Tensor) -> Tensor:
        """Patches [B F P C] and blocks [B F KA] → the patches after each frame [B F P C]."""
        frames, patches = x.shape[1:3]
        told = self.action(blocks)[:, :, None].expand(-1, -1, patches, -1)
        tokens = torch.cat([x, told], -1).flatten(1, 2) + self.position[:, : frames * patches]
        frame = torch.arange(frames, device=x.device).repeat_interleave(patches)
        mask = frame[:, None] >= frame
        for layer in self.layers:
            tokens = layer(tokens, mask)
        return self.norm(tokens)[..., : self.size.width].unflatten(1, (frames, patches))

    @torch.no_grad()
    def price(self, x: Tensor, past: Tensor, goal: Tensor, candidates: Tensor) -> Tensor:
        """Imagine candidates [S N KA] from one history (x [1 F P C], past [1 F-1 KA]) to a goal [1 P C]; costs [S]."""
        samples = len(candidates)
        states, blocks = x.expand(samples, -1, -1, -1), torch.cat([past.expand(samples, -1, -1), candidates], 1)
        for _ in range(candidates.shape[1]):
            end = states.shape[1]
            begin = max(0, end - self.size.frames)
            states = torch.cat([states, self.predict(states[:, begin:end], blocks[:, begin:end])[:, -1:]], 1)
        return (states[:, -1] - goal).square().mean((1, 2))
