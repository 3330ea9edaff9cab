"""Decoder: one latent → the pictures of every camera; trained on a frozen model, for people to look at.

One decoder serves all cameras: the cameras see one scene, and how an edge is drawn is the same in each, so they share the
convolutions; where things are is not, so each camera has its own linear map from the latent to a small feature map.
It adds to a base picture, the median of frames that differ, so what it has not learned looks like the empty scene. Where
something passes in front, its sharp details must go, which no blurred map could take away: a fourth channel fades
the base to its mean colour there. The last doubling is a sub-pixel convolution (Shi et al. 2016): no convolution runs at
full resolution, which halves the time. Frames of any size work: the maps' sides are halves of it, rounded up.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from jepaflow.worldmodel.head_layers import fit_latent_scaler, require_positive
from jepaflow.worldmodel.jepa import Scaler

SMALLEST = 8
"""Largest side of the map that the linear layer draws, px."""


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder."""

    latent_dim: int
    """D"""
    image_size: int
    """S"""
    cameras: tuple[str, ...]
    """in the model's order"""
    hidden: int = 192
    """between the latent and the maps: a thing in a place is no linear function of its coordinates"""
    channels: tuple[int, ...] = (32, 32, 16)
    """of the maps from the smallest side upwards; the last repeats"""

    def __post_init__(self) -> None:
        sizes = {"hidden": self.hidden, "number of cameras": len(self.cameras), "number of maps": len(self.channels)}
        require_positive("decoder", latent_dim=self.latent_dim, image_size=self.image_size, **sizes)
        require_positive("decoder", **{f"map {i}": size for i, size in enumerate(self.channels)})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DecoderConfig":
        """Rebuild from the JSON of ``dataclasses.asdict``."""
        lists = {name: tuple(values[name]) for name in ("cameras", "channels")}
        return cls(**{**values, **lists})

    @property
    def sides(self) -> list[int]:
        """Sides of the maps, px, from the smallest to half the picture's."""
        sides = [-(-self.image_size // 2)]
        while sides[0] > SMALLEST:
            sides.insert(0, -(-sides[0] // 2))
        return sides


class Decoder(nn.Module):
    """The decoder. Pictures leave it in the units of bytes, 0 … 255."""

    base: Tensor
    deviation: Tensor
    spread: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        views, size, sides = len(config.cameras), config.image_size, config.sides
        widths = [config.channels[min(i, len(config.channels) - 1)] for i in range(len(sides))]
        self.latent_scaler = Scaler(config.latent_dim)
        self.hidden = nn.Sequential(nn.Linear(config.latent_dim, config.hidden), nn.GELU())
        self.place = nn.Linear(config.hidden, views * widths[0] * sides[0] ** 2)
        self.grow = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip([widths[0], *widths], widths))
        self.draw = nn.Conv2d(widths[-1], 4 * 2 * 2, 3, padding=1)
        for conv in self.grow:
            assert isinstance(conv, nn.Conv2d)
            nn.init.kaiming_normal_(conv.weight)
        nn.init.zeros_(self.draw.weight)  # begin with the base picture
        nn.init.zeros_(self.draw.bias)  # type: ignore[arg-type]
        self.register_buffer("base", torch.full((views, size, size, 3), 127.5))
        self.register_buffer("deviation", torch.ones(views, 1, 1, 1))
        self.register_buffer("spread", torch.ones(()))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B V S S 3"]:
        """Latents → pictures of every camera; not clipped to 0 … 255, so that a gradient never vanishes."""
        config, views = self.config, len(self.config.cameras)
        shape = (len(z) * views, config.channels[0], config.sides[0], config.sides[0])
        x = torch.relu(self.place(self.hidden(self.latent_scaler(z)))).view(shape)
        x = x.contiguous(memory_format=torch.channels_last)
        for conv, side in zip(self.grow, config.sides, strict=True):
            if side != x.shape[-1]:
                x = nn.functional.interpolate(x, size=(side, side), mode="nearest")
            x = torch.relu(conv(x))
        size = config.image_size
        x = nn.functional.pixel_shuffle(self.draw(x), 2)[..., :size, :size].float()
        x = x.reshape(len(z), views, 4, size, size).permute(0, 1, 3, 4, 2)
        drawn, fade = x[..., :3], x[..., 3:]
        flat = self.base.mean((1, 2), keepdim=True)
        pictures: Tensor = self.base + fade * (flat - self.base) + self.deviation * drawn
        return pictures

    @torch.no_grad()
    def pictures(self, z: Float[Tensor, "B D"]) -> UInt8[Tensor, "B V S S 3"]:
        """Latents → pictures as bytes."""
        return self(z).round().clamp(0, 255).to(torch.uint8)  # type: ignore[no-any-return]

    def fit_statistics(self, z: Float[Tensor, "n D"], frames: UInt8[Tensor, "m V S S 3"]) -> None:
        """Take the statistics of training latents and frames, in place.

        ``base`` becomes the median frame, ``deviation`` each camera's root mean square difference from it, and ``spread`` the
        mean squared difference between two latents drawn at random (mean over D): the unit of latent errors.
        """
        fit_latent_scaler(self.latent_scaler, z)
        self.spread.copy_((2 * z.var(0, correction=0).mean()).clamp_min(1e-12))
        for view in range(frames.shape[1]):
            self.base[view] = frames[:, view].median(0).values.float()
            squared = (frames[:, view].float() - self.base[view]).square().mean()
            self.deviation[view] = squared.sqrt().clamp_min(1.0)

    def error(self, a: Float[Tensor, "*batch D"], b: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
        """Distance between latents; 1: as two training frames drawn at random (root mean square)."""
        return ((a - b).square().mean(-1) / self.spread.to(a.device)).sqrt()
