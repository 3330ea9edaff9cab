"""Where heat maps are hot: peaks and their middles, to a fraction of a cell.

Legend: n maps, V views, G cells along a side. Centres are row and column, -1 … 1.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

HOT = 10.0
"""heat of a thing that nothing hides, about"""
COLD = -1e4
"""heat where nothing is looked for"""
SHARP = 2.0
"""what heat is multiplied by before it becomes a distribution"""
WINDOW = (2, 3)
"""cells around a peak that belong to it: in the first view, and in the others around where the first one says"""


def middle(heat: Float[Tensor, "n G G"], cell: Int[Tensor, "n 2"], reach: int) -> Float[Tensor, "n 2"]:
    """Return the middle of the heat around a cell (row, column), -1 … 1."""
    grid = torch.arange(heat.shape[-1])
    near = [(grid - one[:, None]).abs() <= reach for one in cell.unbind(1)]
    share = (SHARP * heat).masked_fill(~(near[0][:, :, None] & near[1][:, None, :]), COLD).flatten(1).softmax(1)
    share, line = share.view(heat.shape), torch.linspace(-1, 1, heat.shape[-1])
    return torch.stack([share.sum(2) @ line, share.sum(1) @ line], 1)


def hottest(heat: Float[Tensor, "n V G G"]) -> tuple[Float[Tensor, "n V2"], Float[Tensor, "n V"]]:
    """Return the middle of the hottest spot of each view, and its heat."""
    flat = heat.flatten(0, 1)
    peak, cell = flat.flatten(1).max(1)
    at = middle(flat, torch.stack([cell // heat.shape[-1], cell % heat.shape[-1]], 1), WINDOW[0])
    return at.view(len(heat), -1), peak.view(len(heat), -1)


def bent(at: Float[Tensor, "n 2"]) -> Float[Tensor, "n 6"]:
    """Return what another view's centre is a line of."""
    y, x = at.unbind(1)
    return torch.stack([torch.ones_like(y), y, x, y * y, y * x, x * x], 1)
