"""Resting: whether a thing lies on a flat place, from where the pointer sees both.

The seer's cells are too coarse for it: on a disc of five centimetres a cube that lies beside it fills nearly the same cells. The pointer
sees a thing's centre within a tenth of a cell, and the place's at the start, when nothing covers it. What lies on the place is what
lies as in recordings' last frames; what does not is everything in the same recordings that visibly lay elsewhere than where it
was left. So nobody has to record failures. It is believed to lie there only if that is as sure as in nine of ten recordings' last looks: of
two mistakes a wrong claim is the worse, and whoever does not believe pushes on.

Legend: n looks, V views.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from jepaflow.training.fitting import FitConfig, fit

APART = 2.5
"""cells from where it was left from which on a thing lies elsewhere"""
SEEN = 0.65
"""share of its heat at the start below which something hides a thing"""
LEFT = 6
"""control steps before the end in which a thing lies where it was left"""
BATCH, BLUR = 256, 0.01
USUAL = 0.1
"""share of recordings' last looks that are too unsure to be believed"""
NEVER = -8.0
"""log-odds for what was never seen"""


class Rest(nn.Module):
    """Centres in, log-odds out.

    Args:
        views: V.
        hidden: width.
    """

    taught: Tensor
    usual: Tensor

    def __init__(self, views: int, hidden: int = 64) -> None:
        super().__init__()
        self.register_buffer("taught", torch.zeros((), dtype=torch.bool))
        self.register_buffer("usual", torch.zeros(()))
        self.net = nn.Sequential(
            nn.Linear(4 * views, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1)
        )

    def forward(self, thing: Float[Tensor, "n V2"], place: Float[Tensor, "n V2"]) -> Float[Tensor, " n"]:
        """Return log-odds, less those that are usual where something was left on its place.

        Args:
            thing: where it shows now (`Pointer.spots`).
            place: where its place showed at the start.
        """
        found: Tensor = self.net(torch.cat([4 * (thing - place), place], 1))
        return found[:, 0] - self.usual


def train_rest(
    rest: Rest,
    thing: Float[Tensor, "n V2"],
    place: Float[Tensor, "n V2"],
    clear: Bool[Tensor, " n"],
    left: Float[Tensor, "n V2"],
    ended: Bool[Tensor, " n"],
    cell: float,
    config: FitConfig,
    seed: int = 0,
) -> None:
    """Learn in place from looks at recordings that did what they say; nothing where no look shows a thing elsewhere.

    Args:
        rest: untrained.
        thing, place: centres of the looks.
        clear: whether nothing hides the thing.
        left: where the thing showed in each recording's last look.
        ended: whether a look is one of the last.
        cell: size of a cell of the pointer's maps, in its coordinates.
        config: of the fit.
        seed: of the draws.
    """
    elsewhere = clear & ~ended & ((thing - left).abs().amax(1) > APART * cell)
    yes, no = ended.nonzero()[:, 0], elsewhere.nonzero()[:, 0]
    if not len(yes) or not len(no):
        return
    label = torch.cat([torch.ones(BATCH), torch.zeros(BATCH)])

    def loss(step: int) -> Tensor:
        g = torch.Generator().manual_seed(seed * 1_000_003 + step)
        some = torch.cat([rows[torch.randint(len(rows), (BATCH,), generator=g)] for rows in (yes, no)])
        told = (x[some] + BLUR * torch.randn(x[some].shape, generator=g) for x in (thing, place))
        return F.binary_cross_entropy_with_logits(rest(*told), label)

    rest.usual.zero_()
    fit(rest, loss, config, "Learn what lies where it shall")
    rest.eval()
    with torch.no_grad():
        rest.usual.copy_(torch.quantile(rest(thing[yes], place[yes]), USUAL).clamp_min(0))
    rest.taught.fill_(True)
