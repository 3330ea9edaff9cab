"""Where the colours are: a head that asks the latent to hold them.

A JEPA keeps what helps to foretell, and no cube's colour changes how an arm moves: measured on ``so101/place``, a linear
probe reads the cubes' colours from the latent hardly above chance, so no sentence that names one can be grounded in it.
This head reads soft maps of the recordings' own colours (k-means, vivid ones first) on a coarse grid, so that the
latent has to hold which colour lies where. It needs no labels and is dropped after training. Pixels themselves as the
target would spend the latent on texture: the maps are sixteen times coarser. Each colour counts alike in each cell, however
seldom it lies there: by plain squares a bin outweighs a cube of its colour twenty times.

Legend: n frames, V views, S side in pixels, C colours, G cells along a side, D latent.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

SHARP = 0.01
"""squared distance of colours (channels 0 … 1) at which a map falls to 1/e"""
SAMPLE = 200_000
"""pixels that the colours are chosen among"""
FLAT = 2e-3
"""variance of a cell below which it counts less and less: background, noise"""
LEVELS = 12
"""of a channel, for counting how common a colour is"""
BITS = 5
"""of a channel, in the table that stands for distances to the codebook"""


def choose_colours(frames: UInt8[Tensor, "n V S S 3"], count: int, seed: int = 0) -> Float[Tensor, "C 3"]:
    """Choose a codebook among the frames' colours: vivid ones weigh more, since they tell things apart, and common ones by
    the root of their number, or a table's shades would fill it.

    Where there are fewer colours than asked for, the rest of the book is colours that no pixel has.
    """
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(seed)
    pixels = frames.reshape(-1, 3).numpy()
    pixels = pixels[rng.integers(0, len(pixels), min(len(pixels), SAMPLE))] / 255.0
    vivid = 0.02 + pixels.max(1) - pixels.min(1)
    _, kind, number = np.unique((pixels * (LEVELS - 1e-3)).astype(int), axis=0, return_inverse=True, return_counts=True)
    weight = vivid / np.sqrt(number[kind.reshape(-1)])
    found = min(count, len(np.unique(pixels, axis=0)))
    centres = KMeans(found, n_init=1, random_state=seed).fit(pixels, sample_weight=weight).cluster_centers_
    book = torch.full((count, 3), 9.0)
    book[:found] = torch.from_numpy(centres).float()
    return book


def shares_table(codebook: Float[Tensor, "C 3"]) -> Float[Tensor, "k C"]:
    """Return how much of each colour a pixel is, for every RGB of `BITS` bits a channel: a look-up is ten times faster."""
    levels = (torch.arange(2**BITS, device=codebook.device) + 0.5) / 2**BITS
    colours = torch.cartesian_prod(levels, levels, levels)
    return (-torch.cdist(colours, codebook).square() / SHARP).softmax(1)


def cells(side: int, most: int) -> int:
    """Return the largest G that is not above ``most`` and divides a picture's side."""
    return next(g for g in range(min(most, side), 0, -1) if side % g == 0)


def colour_maps(
    frames: UInt8[Tensor, "n V S S 3"], table: Float[Tensor, "k C"], grid: int
) -> Float[Tensor, "n V C G G"]:
    """Return how much of each colour lies in each cell: the root of its share, so that small things count.

    Args:
        frames: pictures.
        table: of `shares_table`.
        grid: G; divides S.
    """
    n, views = frames.shape[:2]
    size = frames.shape[2] // grid
    r, g, b = (frames >> (8 - BITS)).long().unbind(-1)
    if not n:
        return table.new_zeros(0, views, table.shape[1], grid, grid)
    index = (r << 2 * BITS) + (g << BITS) + b
    cells = index.view(n * views, grid, size, grid, size).transpose(2, 3).reshape(n * views * grid**2, -1)
    share = F.embedding_bag(cells, table, mode="mean")
    return share.sqrt().view(n, views, grid, grid, -1).permute(0, 1, 4, 2, 3)


class ColourHead(nn.Module):
    """Reads the colour maps of a frame from its latent.

    Args:
        dim: D.
        views: V.
        side: S.
        colours: C.
        grid: largest G; the largest divisor of S that is not above it is taken.
        hidden: width of the one hidden layer.
    """

    codebook: Tensor
    mean: Tensor
    spread: Tensor
    table: Tensor

    def __init__(self, dim: int, views: int, side: int, colours: int, grid: int = 16, hidden: int = 512) -> None:
        super().__init__()
        self.grid = cells(side, grid)
        shape = (views, colours, self.grid, self.grid)
        self.read = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, views * colours * self.grid**2),
            nn.Unflatten(-1, shape),
        )
        self.register_buffer("codebook", torch.full((colours, 3), 9.0))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("spread", torch.ones(shape))
        self.register_buffer("table", torch.zeros(2 ** (3 * BITS), colours), persistent=False)

    @torch.no_grad()
    def fit(self, frames: UInt8[Tensor, "n V S S 3"], seed: int = 0) -> None:
        """Choose the colours, and measure what the maps show on average and how much they vary, in place."""
        book = choose_colours(frames, len(self.codebook), seed)
        maps = colour_maps(frames, shares_table(book), self.grid)
        self.codebook.copy_(book)
        self.mean.copy_(maps.mean(0))
        self.spread.copy_(maps.var(0, unbiased=False))
        self.table.zero_()

    def maps(self, frames: UInt8[Tensor, "n V S S 3"]) -> Float[Tensor, "n V C G G"]:
        """Return the maps of frames by this head's colours."""
        if not self.table.any():  # not kept with the weights: it follows from the codebook
            self.table.copy_(shares_table(self.codebook))
        return colour_maps(frames, self.table, self.grid)

    def error(self, z: Float[Tensor, "n D"], frames: UInt8[Tensor, "n V S S 3"]) -> Float[Tensor, ""]:
        """Return the unexplained share of the maps' variance, over cells that vary; 1 knows only the mean."""
        with torch.no_grad():
            wanted = self.maps(frames) - self.mean
        weight = 1 / (self.spread + FLAT)
        missed = ((self.read(z).float() - wanted).square().mean(0) * weight).sum()
        share: Tensor = missed / (self.spread * weight).sum().clamp_min(1.0)
        return share
