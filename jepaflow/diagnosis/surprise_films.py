"""Pairs of films for violation of expectation: an episode as it was, and the same with one impossible event in it.

Both branches share the episode's start, its actions and every frame before the edit; the violated one is the simulator,
restored, edited and driven on by the *recorded* actions. So what differs between the two is the event and nothing else.
Frames are one model step (K control steps) apart, as the model sees them. Episodes are the world's own mixture of
behaviours, under seeds that no `collect` uses.

Only what can be seen counts: a pair is judged from the first frame on in which the two films differ in at least `PIXELS`
pixels; an edit without such a frame is dropped and counted. *Vanish* is judged from the first frame on in which the normal
film shows the cube again, within the H frames that the model remembers. Two cameras hardly ever lose a cube together, so
*mostly hidden* counts its outline in all of them.

Reversed time winds the film back from the frame before the edit: the frames that follow, last one first, would begin with a
jump and be judged as a teleport.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from jepaflow.sims.collect import CollectConfig, record_episode
from jepaflow.sims.edits import Editor
from jepaflow.sims.registry import World, WorldEntry

FILM_KINDS = {
    "frozen": "what is seen stands still while the actions go on",
    "reversed": "the film runs backwards",
}
"""Violations that need no simulator."""
STREAM = 9173
"""Seeds from STREAM million on belong to this measurement."""
CHANGED = 20
"""Levels of 255 by which a pixel must differ to count."""
PIXELS = 8
"""Pixels, over all cameras, that must differ at 64 px for an event to be seen (a third of a cube), and as much at other sizes."""
HIDDEN, SHOWN = 0.45, 0.6
"""Share of the cube's outline up to which it is mostly hidden, and from which it is seen again."""
REACH = 4
"""Model steps within which an event must become visible."""
TRIES = 3
"""Moments of an episode that are tried for one violation."""


@dataclass(frozen=True)
class Film:
    """Frames one model step apart."""

    frames: UInt8[np.ndarray, "n V S S 3"]
    proprio: Float[np.ndarray, "n P"]

    def __len__(self) -> int:
        return len(self.frames)

    def part(self, rows: slice | list[int]) -> Film:
        """Return some of the frames."""
        return Film(self.frames[rows], self.proprio[rows])


@dataclass(frozen=True)
class Take:
    """One episode as it was."""

    index: int
    states: Float[np.ndarray, "T d"]
    actions: Float[np.ndarray, "T A"]
    rows: tuple[int, ...]
    """control steps of the film's frames"""
    film: Film
    shares: Float[np.ndarray, " n"]
    """how much is seen of the thing that edits are about, in each frame"""

    @property
    def blocks(self) -> Float[np.ndarray, "m K A"]:
        """The actions between the film's frames, m = n - 1."""
        count = len(self.rows) - 1
        if count < 1:
            return np.empty((0, 1, self.actions.shape[1]), dtype=np.float32)
        size = self.rows[1] - self.rows[0]
        return self.actions[self.rows[0] : self.rows[0] + count * size].reshape(count, size, -1)


@dataclass(frozen=True)
class Violation:
    """What became of one episode after an impossible event; all counts in frames of the film."""

    kind: str
    take: Take
    edit: int
    """first frame that may differ"""
    judged: int
    """first frame of the judged window"""
    film: Film
    """frames from ``edit`` on, to the end of the judged window"""


class Stage:
    """Plays episodes and violates them.

    Args:
        entry: the world's entry.
        world: a world of it that shows what the model sees.
        editor: what can be made impossible in it.
        config: how episodes are collected; calibration episodes have the seed that follows.
        block: K, control steps in a model step.
        history: H, frames that a forecast needs.
        window: W, frames that are judged.
    """

    def __init__(
        self,
        entry: WorldEntry,
        world: World,
        editor: Editor,
        config: CollectConfig,
        block: int,
        history: int,
        window: int,
    ) -> None:
        self.entry, self.world, self.editor, self.config = entry, world, editor, config
        self.block, self.history, self.window = block, history, window

    def play(self, index: int, calibration: bool = False) -> Take:
        """Play episode ``index``, of the pairs' or of the calibration's, and film it from a drawn phase on."""
        config = replace(self.config, seed=self.config.seed + calibration)
        recording = record_episode(self.entry, self.world, config, index, look=False)
        states, actions = recording.rows["observation.environment_state"], recording.rows["action"]
        rng = np.random.default_rng([config.seed, index, 1])
        rows = range(int(rng.integers(min(self.block, len(states)))), len(states), self.block)
        self.world.set_state(states[0])
        self.editor.begin(rng)
        seen: list[dict[str, np.ndarray]] = []
        shares = np.ones(len(rows))
        for number, row in enumerate(rows):
            self.world.set_state(states[row])
            seen.append(self.world.observation())
            if not calibration:
                shares[number] = self.editor.seen(seen[-1])
        return Take(index, states, actions, tuple(rows), self._film(seen), shares)

    def violate(self, take: Take, kind: str) -> tuple[Violation | None, int]:
        """Let an impossible event happen in an episode; return it (None: no chance for it) and how many tries showed nothing."""
        number = sorted([*self.editor.kinds, *FILM_KINDS]).index(kind)
        rng = np.random.default_rng([self.config.seed, take.index, 2, number])
        chances = np.flatnonzero(self._chances(take, kind))
        dropped = 0
        for edit in rng.permutation(chances)[:TRIES]:
            found = (
                self._rewound(take, kind, int(edit)) if kind in FILM_KINDS else self._edited(take, kind, int(edit), rng)
            )
            if found is not None:
                return found, dropped
            dropped += 1
        return None, dropped

    def _chances(self, take: Take, kind: str) -> Bool[np.ndarray, " n"]:
        """Frames from which on a violation may show, with a whole history before and a whole window from there on."""
        count = len(take.film)
        frame = np.arange(count)
        able: np.ndarray = (frame >= self.history) & (frame <= count - self.window)
        if kind == "reversed":
            able &= frame > self.window
            return able
        if kind == "frozen":
            return able
        may = self.editor.chances(kind, take.states, take.actions, self.block)
        rows = np.array(take.rows) - (self.block if kind in self.editor.laws else 0)
        able &= may[np.maximum(rows, 0)]
        if kind == "vanish":
            again = [self._again(take, int(edit)) is not None for edit in frame]
            able &= (take.shares <= HIDDEN) & np.array(again)
        if kind == "vanish_seen":
            able &= take.shares >= SHOWN
        return able

    def _again(self, take: Take, edit: int) -> int | None:
        """First frame after ``edit`` in which the normal film shows the cube again, while the model may remember it."""
        last = min(edit + self.history, len(take.film) - self.window)
        return next((frame for frame in range(edit + 1, last + 1) if take.shares[frame] >= SHOWN), None)

    def _edited(self, take: Take, kind: str, edit: int, rng: np.random.Generator) -> Violation | None:
        """Edit the world and replay the recorded actions in it; None where nothing is to be seen of that."""
        judged = self._again(take, edit) if kind == "vanish" else None
        latest = min(len(take.film) - self.window, edit + REACH - 1)
        begin = take.rows[edit] - (self.block if kind in self.editor.laws else 0)
        self.world.set_state(take.states[begin])
        seen: list[dict[str, np.ndarray]] = []
        with self.editor.edited(kind, rng) as possible:
            if not possible:
                return None
            row = begin
            for frame in range(edit, len(take.film)):
                while row < take.rows[frame]:
                    self.world.advance(take.actions[row])
                    row += 1
                seen.append(self.world.observation())
                differs = self._differ(take, frame, self._film(seen[-1:]).frames[0])
                if judged is None and differs:
                    judged = frame
                if (judged is None and frame == latest) or (frame == judged and not differs):
                    return None
                if judged is not None and frame == judged + self.window - 1:
                    return Violation(kind, take, edit, judged, self._film(seen))
        return None

    def _rewound(self, take: Take, kind: str, edit: int) -> Violation | None:
        """Repeat the frame before the edit, or wind back from it; None where the real frame looks the same."""
        steps = range(self.window)
        film = take.film.part([edit - 1 if kind == "frozen" else edit - 2 - step for step in steps])
        if not self._differ(take, edit, film.frames[0]):
            return None
        return Violation(kind, take, edit, edit, film)

    def _differ(self, take: Take, frame: int, picture: UInt8[np.ndarray, "V S S 3"]) -> bool:
        return visible(take.film.frames[frame], picture)

    def _film(self, seen: list[dict[str, np.ndarray]]) -> Film:
        keys = ("pixels", *self.world.cameras[1:])
        frames = np.stack([np.stack([one[key] for key in keys]) for one in seen])
        return Film(frames, np.stack([one["state"] for one in seen]).astype(np.float32))


def visible(one: UInt8[np.ndarray, "V S S 3"], other: UInt8[np.ndarray, "V S S 3"]) -> bool:
    """Return whether two looks at the world differ visibly."""
    apart = np.abs(one.astype(np.int16) - other.astype(np.int16)).max(-1) > CHANGED
    return bool(apart.sum() >= PIXELS * (one.shape[1] / 64) ** 2)
