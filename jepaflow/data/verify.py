"""Read random frames again, from the source by seeking and from the store, and compare: they must be the same bytes.

Conversion decodes forward and this seeks, so the check is independent of the arithmetic that paired frames with rows
while converting only in part; it does catch rows written to the wrong place and decoders that depend on history.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.data.partial import Entry, PartialStore
from jepaflow.data.resize import ImageRule
from jepaflow.data.types import Camera, Dataset

# Software decoders are exact; hardware ones may differ by rounding.
TOLERATED = 2


@dataclass(frozen=True)
class Verification:
    """Frames compared and the largest absolute difference found, in grey levels (0..255)."""

    frames: int
    largest_difference: int


def verify(
    dataset: Dataset,
    cameras: Sequence[Camera],
    rule: ImageRule,
    store: PartialStore,
    kept: Sequence[Entry],
    count: int,
    column_of: Mapping[str, str],
) -> Verification:
    """Compare ``count`` random frames of episodes without damage.

    Raises:
        JepaflowError: when one differs by more than rounding.
    """
    offsets = np.cumsum([0, *(entry.length for entry in kept)])
    whole = [number for number, entry in enumerate(kept) if not entry.damage]
    if count == 0 or not whole:
        return Verification(0, 0)
    random = np.random.default_rng(0)
    lengths = np.array([kept[number].length for number in whole])
    picks = sorted(random.choice(len(whole), size=count, p=lengths / lengths.sum()).tolist())
    episodes = {episode.index: episode for episode in dataset.episodes}
    largest, compared = 0, 0
    with progress("Verifying frames", count) as advance:
        for pick in picks:
            entry, first = kept[whole[pick]], int(offsets[whole[pick]])
            number, camera = int(random.integers(entry.length)), cameras[int(random.integers(len(cameras)))]
            source = next(iter(dataset.frames_or_none(episodes[entry.source], camera, rule, np.array([number]))))
            stored = store.read(column_of[camera.key], first + number)
            difference = 255 if source is None else int(np.abs(source.astype(int) - stored.astype(int)).max())
            if difference > TOLERATED:
                raise JepaflowError(
                    f"Episode {entry.source}, frame {number}, {camera.name}: the store differs from the source by "
                    f"{difference} grey levels. Run the same command with --overwrite; if it stays, report it."
                )
            largest, compared = max(largest, difference), compared + 1
            advance()
    return Verification(compared, largest)
