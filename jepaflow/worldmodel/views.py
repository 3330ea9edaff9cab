"""Several views, one latent: the alternative to stacking views as channels.

One encoder looks at every view; a learned embedding tells it which one, and a small network that all views share says what
each has to tell; their mean is the frame's features. What differs between cameras is an embedding, not a set of filters, and
no pixel of one view is ever compared with the pixel at the same place of another, which shows something else.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SharedViews(nn.Module):
    """An encoder of one view, used for all.

    Args:
        encoder: [B 3 S S] → [B F].
        views: V.
        width: F.
    """

    def __init__(self, encoder: nn.Module, views: int, width: int) -> None:
        super().__init__()
        self.encoder, self.views = encoder, views
        self.embedding = nn.Parameter(torch.randn(views, width) * 0.02)
        self.told = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Float[Tensor, "B C S S"]) -> Float[Tensor, "B F"]:
        """Normalised pixels, the views one after the other in the channels → features."""
        features: Tensor = self.encoder(x.reshape(len(x) * self.views, -1, *x.shape[2:]))
        features = features.view(len(x), self.views, -1) + self.embedding
        fused: Tensor = self.told(features).mean(1)
        return fused
