"""Maps of the latents: PCA, t-SNE and, where umap-learn is installed, UMAP, coloured by time, task and place.

PCA keeps distances and shows little; t-SNE and UMAP keep neighbours and invent the rest: the distance between two islands
and their sizes mean nothing. So every method is drawn with every colouring, and figures are taken from the latents
themselves (:mod:`isometry`, :mod:`neighbours`), never from a map.
"""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from sklearn.manifold import TSNE

from jepaflow.diagnosis.frames import Frames, Kinds

PERPLEXITY = 30.0
ITERATIONS = 500
"""of t-SNE: 250 of them exaggerate; on 1,500 latents the picture stands after 400"""
FEWEST = 5
"""frames below which no neighbourhood is left to keep"""


@dataclass(frozen=True)
class Colouring:
    """What the points of a column are coloured by: numbers on a scale, or classes."""

    title: str
    values: Float[ndarray, " n"] | None = None
    kinds: Kinds | None = None


@dataclass(frozen=True)
class Panels:
    """Two coordinates per frame for every method, and what to colour them by; ``missing`` says which method is not there and why."""

    maps: dict[str, Float[ndarray, "n 2"]]
    colourings: tuple[Colouring, ...]
    missing: str
    episodes: int


def make_panels(frames: Frames, seed: int = 0) -> Panels:
    """Lay out the frames in two dimensions; methods that need more frames than there are are left out."""
    centred = frames.z - frames.z.mean(0)
    maps = {"PCA": _pca(centred)}
    missing = ""
    if len(centred) >= FEWEST and float(centred.std()) > 0:
        maps["t-SNE"] = _t_sne(centred, seed)
        if (umap := _find_umap()) is not None:
            maps["UMAP"] = _umap(umap, centred, seed)
        else:
            missing = "The map has no UMAP panel: umap-learn is not installed (pip install umap-learn)."
    return Panels(maps, _colourings(frames), missing, len(np.unique(frames.episode)))


def _colourings(frames: Frames) -> tuple[Colouring, ...]:
    found = [Colouring("time in the episode", frames.when)]
    if frames.kinds is not None:
        found.append(Colouring(frames.kinds.title, kinds=frames.kinds))
    if frames.told is not None:
        wanted = 3 - len(found)
        found += [Colouring(title, values) for title, values in list(frames.told.shown.items())[:wanted]]
    return tuple(found)


def _pca(centred: Float[ndarray, "n D"]) -> Float[ndarray, "n 2"]:
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    found = np.zeros((len(centred), 2))
    known = min(2, len(axes))
    found[:, :known] = centred @ axes[:known].T
    return found


def _t_sne(centred: Float[ndarray, "n D"], seed: int) -> Float[ndarray, "n 2"]:
    perplexity = min(PERPLEXITY, (len(centred) - 1) / 3)
    start = _pca(centred)
    start = 1e-4 * start / max(float(start[:, 0].std()), 1e-12)  # scikit-learn's own start by PCA, for any D
    method = TSNE(2, perplexity=perplexity, init=start, max_iter=ITERATIONS, random_state=seed, n_jobs=1)
    found: ndarray = np.asarray(method.fit_transform(centred), np.float64)
    return found


def _find_umap() -> Any:
    """The class UMAP, or None: not installed, or something else has its name."""
    try:
        return getattr(importlib.import_module("umap"), "UMAP", None)
    except ImportError:
        return None


def _umap(umap: Any, centred: Float[ndarray, "n D"], seed: int) -> Float[ndarray, "n 2"]:
    method = umap(n_neighbors=min(15, len(centred) - 1), random_state=seed, n_jobs=1, init="pca")
    threads = torch.get_num_threads()
    found: ndarray = np.asarray(method.fit_transform(centred), np.float64)
    torch.set_num_threads(threads)  # numba's OpenMP resets them to all cores: 18 times slower beside other jobs
    return found
