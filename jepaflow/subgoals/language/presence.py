"""Who is there: the heat from which on the pointer believes in a thing.

A thing is there where its heat peaks as high as on the desks whose sentence named it, or at least half-way between the desks that are
hot and those that are not: no desk need be known to lack it. All desks count, whatever was done there: a cube that was only ever pushed
looks otherwise than one beside bins.

Legend: k desks, V views, C colours, G cells along a side.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from jepaflow.subgoals.language.lessons import Part
from jepaflow.subgoals.language.pointing import Pointer
from jepaflow.training.corpus import Corpus

DESKS = 3000
"""looked at, at most"""
LEAST = 0.02
"""share of the desks with a thing on which it may be overlooked"""


def find_least(
    pointer: Pointer, maps: Float[Tensor, "k V C G G"], thing: Int[ndarray, " k"], place: Int[ndarray, " k"]
) -> None:
    """Set the heat from which on a thing is there, in place: what nearly all desks reach on which it was named, or less.

    Args:
        pointer: trained.
        maps: of desks before anything was done there.
        thing, place: what was named on each.
    """
    pointer.least.fill_(-np.inf)
    objects = pointer.sizes["objects"]
    for kind in (range(objects, len(pointer.least)), range(objects)):  # places first: what lies in them does not count
        _part(pointer, maps, thing, place, kind)


def _part(
    pointer: Pointer,
    maps: Float[Tensor, "k V C G G"],
    thing: Int[ndarray, " k"],
    place: Int[ndarray, " k"],
    kind: range,
) -> None:
    """Set the heat of some things."""
    from sklearn.cluster import KMeans

    if not len(maps):
        return
    peaks = torch.cat([pointer.peaks(some) for some in torch.split(maps, 64)])
    for number in kind:
        named = torch.from_numpy((thing == number) | (place == number))
        if (
            not named.any() or np.ptp(peaks[:, number].numpy()) < 1e-3
        ):  # a thing without a hue, or the hand: nobody knows it
            continue
        least, every = float(torch.quantile(peaks[named, number], LEAST)), peaks[:, number].unsqueeze(1).numpy()
        parted = KMeans(2, n_init=1, random_state=0).fit(every).cluster_centers_.mean() if np.ptp(every) > 0 else least
        pointer.least[number] = min(least, float(parted))


@torch.no_grad()
def see_starts(pointer: Pointer, corpus: Corpus, cameras: tuple[str, ...], parts: Sequence[Part]) -> None:
    """Set, in place, from which heat on things are there, by all desks before anything was done there."""
    first = [part for part in parts if part.first == part.start]
    first = first[:: 1 + len(first) // DESKS]
    frames = corpus.frames(np.array([part.start for part in first], np.int64), cameras)
    find_least(pointer, pointer.maps(frames), *(np.array([getattr(x, k) for x in first]) for k in ("thing", "place")))
