"""What the robot believes to have done: the seer's probabilities over the last few looks, for many desks in step.

One frame errs: an arm in the way, a cube that hangs over the bin. So the log-odds of the last `LOOKS` frames are averaged
(they say nearly the same, so they are not added up), and the hand must have finished its walk before anybody asks
(`commander`).

Whether something lies on a flat place, onto which things are pushed, the pointer sees better (`resting`); a look at which something hides
the thing says nothing new.

Legend: E desks, O objects, P places, V views.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.doing import MANNERS, Doer
from jepaflow.subgoals.language.potentials import Desks
from jepaflow.subgoals.language.resting import NEVER, SEEN
from jepaflow.subgoals.language.seeing import Seer

LOOKS = 4
"""model steps"""
EDGE = 1e-6
ABOUT = 1.2
"""times the heat from which on a thing is there, from where on it surely lies about: what lies in a bin shows a little beside it"""


class Beliefs:
    """Watches E desks from before anything was done there.

    Args:
        seer: the run's.
        frames: of the desks' beginning.
        doer: the run's, whose pointer knows better what is there; None: the seer says it.
    """

    def __init__(self, seer: Seer, frames: UInt8[ndarray, "E V S S 3"], doer: Doer | None = None) -> None:
        pointer = None if doer is None else doer.pointer
        self.pointer, self.seer, self.start = pointer, seer, seer.maps(frames)
        self._there = seer.presence(self.start) >= seer.absent.double().numpy()
        self._several = None if pointer is None else pointer.several(frames)
        if pointer is not None:  # of what has no hue it knows nothing
            self._there = np.where(pointer.least.isfinite().numpy(), pointer.there(frames), self._there)
        self.desks = Desks.of(seer, self.start)
        self._seen: deque[ndarray] = deque(maxlen=LOOKS)
        self._loose: deque[ndarray] = deque(maxlen=LOOKS)
        self._resting: deque[Tensor] = deque(maxlen=LOOKS)
        knows = doer is not None and bool(doer.pointer.rest.taught)
        manner = doer.manner.numpy()[len(seer.objects) :] if doer is not None and knows else np.zeros(0)
        self._flat = np.flatnonzero(manner == MANNERS.index("push"))
        if pointer is not None and len(self._flat):
            maps = pointer.maps(frames)
            self._heat = pointer.objects_spots(maps)[1]
            numbers = [torch.full((len(frames),), len(seer.objects) + int(column)) for column in self._flat]
            self._flat_at = [pointer.spots(maps, number)[0] for number in numbers]
        self.see(frames)

    def __len__(self) -> int:
        return len(self.start)

    def see(self, frames: UInt8[ndarray, "E V S S 3"]) -> None:
        """Take in what the desks look like now; once a model step."""
        self._maps = self.seer.maps(frames)
        chance = np.clip(self.seer.probabilities(self.start, self._maps), EDGE, 1 - EDGE)
        self._seen.append(np.log(chance) - np.log1p(-chance))
        if self.pointer is not None and self._several is not None and self._several.any():
            self._loose.append(self.pointer.there(frames, ABOUT))
        if len(self._flat):
            self._rest(frames)

    @torch.no_grad()
    def _rest(self, frames: UInt8[ndarray, "E V S S 3"]) -> None:
        """See what lies on flat places; of what is hidden the look before counts again."""
        assert self.pointer is not None
        at, heat = self.pointer.objects_spots(self.pointer.maps(frames))
        clear, size = (heat >= SEEN * self._heat).all(2), at.shape[1]
        odds = [
            self.pointer.rest(at.flatten(0, 1), place.repeat_interleave(size, 0)).view(-1, size)
            for place in self._flat_at
        ]
        now = torch.stack(odds, 2)
        before = self._resting[-1] if self._resting else torch.full_like(now, NEVER)
        self._resting.append(torch.where(clear[..., None], now, before))

    def forget(self) -> None:
        """Keep the last look alone: something new begins."""
        for looks in (self._seen, self._loose, self._resting):
            while len(looks) > 1:
                looks.popleft()

    @property
    def now(self) -> Float[ndarray, "E O P"]:
        """Probability of each object's lying in each place."""
        odds = np.mean(self._seen, axis=0)
        if self._resting:
            odds[:, :, self._flat] = torch.stack(list(self._resting)).mean(0).double().numpy()
        return np.asarray(1 / (1 + np.exp(-odds)))

    def of(self, clauses: Sequence[Clause], desk: int) -> Float[ndarray, " m"]:
        """Return the probability of each clause's being done on one desk.

        Where there were several things of a name, nothing is done with them while one lies about.
        """
        now = self.now[desk][None]
        found = np.array([float(self.seer.clause(now, clause)[0]) for clause in clauses])
        if self._several is not None and self._loose:
            loose = (np.mean([look[desk] for look in self._loose], axis=0) > 0.5) & self._several[desk]
            still = [bool(loose[self.seer.rows(each.object)].any()) and not self._on_flat(each) for each in clauses]
            found[still] = 0.0
        return found

    def _on_flat(self, clause: Clause) -> bool:
        """Whether a clause brings a thing onto a flat place, where it lies about all the same."""
        return clause.where is not None and bool(np.isin(self.seer.columns(clause.where), self._flat).any())

    def there(self, desk: int) -> tuple[Thing, ...]:
        """Return what is on a desk, as it was seen at the beginning; a pointer leaves out objects that lie in a place already."""
        return self.seer.named_by(self._there[desk])

    def desk(self, desk: int) -> Desks:
        """Return what was on one desk at the beginning, and where the objects lie now."""
        some, objects = slice(desk, desk + 1), len(self.seer.objects)
        centre = self.desks.centre[some].copy()
        centre[:, :objects] = self.seer.centres(self._maps[some])[:, :objects]
        return Desks(self.desks.presence[some], centre)
