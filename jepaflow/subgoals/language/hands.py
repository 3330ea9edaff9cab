"""The hands: one attempt at a clause after the other, each from where the hand began, so that the seer judges what nothing hides.

One attempt is: look and point, do, go back to where the hand began. A hand that shut on nothing, that has opened, or
that takes too long goes back at once, straight in the joints; there the arm hides nothing, so the seer judges and the
pointer points anew. A hand that put something down stays open while it is judged, as in the recordings' last frames: seen with the hand
half shut, as in their first frames, the seer says that nothing was done. A hand that pushes pushes a little and looks anew, many
times: what goes wrong late in a push only moves the thing on. It goes back the way it came, for the straight way home drags what it
touches along (one way back in four moved the thing, by 28 mm). A hand that reaches goes straight to where the pointer points, looking anew
on the way (`touching`), and stays there while it is judged.

Legend: n rows, E environments, D latent, V views, J joints (as many as actions), c steps of a chunk.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from jepaflow.subgoals.language.doing import CHUNK, MANNERS, Doer
from jepaflow.subgoals.language.pushing import begun, beyond, seen
from jepaflow.subgoals.language.touching import Looks

AFTER = 2
"""looks after the hand opened that are still the doer's: it lifts"""
LONG = 50
"""looks after which an attempt has failed: the longest deeds of recordings take as long"""
A_PUSH = 14
"""looks after which a hand that pushed looks anew"""
BACK = 20
"""looks after which a hand on its way back is as near as it gets"""
JUDGED = 14
"""looks after which the seer has seen enough of what was put down, the way back included"""
PACE, FAST, THERE = 2.5, 5.0, 8.0
"""degrees: what a joint goes back in a control step, what it does after a push, and from where on it is there"""
NEAR = 25.0
"""degrees from a place on the way that it came from where on a hand goes to the next"""
CLOSE = 4.0
"""degrees from where it reaches for at which a hand has arrived"""
TOUCHES = 25
"""looks after which a hand that did not reach what it points at looks anew"""


class Hands:
    """The hands of E environments, each at an attempt at moving one thing, or on its way back.

    Args:
        doer: trained.
        home: joints that they go back to, in the dataset's units.
    """

    def __init__(self, doer: Doer, home: Float[ndarray, "E J"]) -> None:
        size, joints = home.shape
        self.doer, self.home = doer, home.copy()
        self.aim = torch.zeros(size, 2 * joints)
        """of what is put"""
        self.touch = np.zeros((size, joints))
        """joints that reach what is reached, in the dataset's units"""
        self.glimpses = Looks(size, joints)
        """what they were averaged from"""
        self.begun = torch.zeros(size, 4 * doer.pointer.sizes["views"])
        """where what is pushed and its place were seen"""
        self.before = home.copy()
        """joints at the look before"""
        self.path: list[list[Float[ndarray, " J"]]] = [[] for _ in range(size)]
        """joints at the looks of a push, which are left to go back to"""
        self.pair = np.full((size, 2), -1)
        self.looks = np.zeros(size, int)
        """since the attempt began, or the way back"""
        self.opened = np.zeros(size, int)
        """looks since the hand opened, from one on"""
        self.wide = np.zeros(size, bool)
        """whether it has opened to reach for something: a hand begins half shut"""
        self.shut = np.zeros(size, bool)
        """whether it has shut on something since"""
        self.put = np.zeros(size, bool)
        """whether it has put something down that is being judged"""
        self.back = np.ones(size, bool)
        """whether it is on its way back"""

    def act(
        self,
        rows: Int[ndarray, " n"],
        z: Float[Tensor, "n D"],
        frames: UInt8[ndarray, "n V S S 3"],
        joints: Float[ndarray, "n J"],
        pairs: Int[ndarray, "n 2"],
    ) -> Float[ndarray, "n c J"]:
        """Look once a block, and return the actions from now on, in the dataset's units.

        Args:
            rows: which environments are busy.
            z, frames, joints: theirs, now.
            pairs: numbers of thing and place among the things.
        """
        manner = self.doer.manner.numpy()[pairs[:, 1]]
        self._judge(rows, joints, pairs, manner)
        self.put[rows] &= self.looks[rows] < JUDGED
        away = np.abs(joints - self.home[rows]).max(1)
        arrived = self.back[rows] & ~self.put[rows] & ((away < THERE) | (self.looks[rows] > BACK + JUDGED))
        if arrived.any():
            self._point(rows[arrived], frames[arrived], pairs[arrived], manner[arrived])
        actions = self._actions(rows, z, frames, joints, pairs, manner)
        self.before[rows] = joints
        goal, retraced = self._retraced(rows, joints, manner == MANNERS.index("push"))
        way = _straight(joints, goal, np.where(retraced, FAST, PACE))
        way[self.put[rows], :, -1] = joints[self.put[rows], None, -1]
        return np.where(self.back[rows][:, None, None], way, actions)

    def arrived(self, rows: Int[ndarray, " n"], joints: Float[ndarray, "n J"]) -> Bool[ndarray, " n"]:
        """Return which hands at an attempt are where they reach for, and sure of it; whoever is on its way back is not."""
        sure = (self.glimpses.doubt[rows] <= self.doer.pointer.touches.usual).numpy()
        return np.asarray((np.abs(joints - self.touch[rows]).max(1) < CLOSE) & sure & ~self.back[rows])

    def forget(self) -> None:
        """Begin anew whatever is asked for next."""
        self.pair[:] = -1

    def _retraced(
        self, rows: Int[ndarray, " n"], joints: Float[ndarray, "n J"], pushing: Bool[ndarray, " n"]
    ) -> tuple[Float[ndarray, "n J"], Bool[ndarray, " n"]]:
        """Return where hands on their way back go next, and which of them pushed: home, those first where they were at each look."""
        goal, retraced = self.home[rows].copy(), np.zeros(len(rows), bool)
        for n, e in enumerate(rows):
            path = self.path[e]
            if not self.back[e]:
                path += [joints[n]] * bool(pushing[n])
                continue
            retraced[n] = bool(path) or bool(pushing[n])
            if path and self.looks[e] % 2:  # every second look it gives a place up: something may hold it
                path.pop()
            while path and np.abs(joints[n] - path[-1]).max() < NEAR:
                path.pop()
            goal[n] = path[-1] if path else goal[n]
        return goal, retraced

    def _point(
        self,
        rows: Int[ndarray, " n"],
        frames: UInt8[ndarray, "n V S S 3"],
        pairs: Int[ndarray, "n 2"],
        manner: Int[ndarray, " n"],
    ) -> None:
        """Look where things and places are, and begin an attempt."""
        pointer = self.doer.pointer
        for number, name in enumerate(MANNERS):
            some = manner == number
            if not some.any():
                continue
            mine, (thing, place) = rows[some], pairs[some].T
            if name == "put":
                self.aim[mine] = pointer.point(frames[some], thing, place)
            elif name == "push":
                self.begun[mine] = beyond(begun(pointer, frames[some], thing, place))
            else:
                self.glimpses.begin(mine)
        for each in (self.back, self.looks, self.opened, self.wide, self.shut):
            each[rows] = 0
        for e in rows:
            self.path[e].clear()

    def _actions(
        self,
        rows: Int[ndarray, " n"],
        z: Float[Tensor, "n D"],
        frames: UInt8[ndarray, "n V S S 3"],
        joints: Float[ndarray, "n J"],
        pairs: Int[ndarray, "n 2"],
        manner: Int[ndarray, " n"],
    ) -> Float[ndarray, "n c J"]:
        """Return what those at an attempt do next."""
        found = np.zeros((len(rows), CHUNK, joints.shape[1]))
        put, push, touch = (manner == number for number in range(len(MANNERS)))
        if put.any():
            found[put] = self.doer.act(z[put], self.aim[rows[put]], joints[put])
        if push.any():
            now = seen(self.doer.pointer, frames[push], pairs[push, 0])
            ago = np.where(self.looks[rows[push], None] > 0, self.before[rows[push]], joints[push])
            found[push] = self.doer.push(now, self.begun[rows[push]], joints[push], ago)
        touch &= ~self.back[rows]
        if touch.any():
            pointer = self.doer.pointer
            spots, here = pointer.look(frames[touch], pairs[touch, 0]), pointer.standard(joints[touch])
            goal = self.glimpses.see(pointer.touches, rows[touch], *spots, here)
            self.touch[rows[touch]] = (goal * pointer.std + pointer.mean).numpy()
            found[touch] = _straight(joints[touch], self.touch[rows[touch]])
        return found

    def _judge(
        self,
        rows: Int[ndarray, " n"],
        joints: Float[ndarray, "n J"],
        pairs: Int[ndarray, "n 2"],
        manner: Int[ndarray, " n"],
    ) -> None:
        """Send hands back whose attempt is over, or that have something else to do."""
        now = joints[:, -1] < float(self.doer.middle)
        self.wide[rows] |= ~now
        self.shut[rows] |= self.wide[rows] & now
        opened = np.where(self.shut[rows] & ~now, self.opened[rows] + 1, 0)
        vain = self.shut[rows] & (joints[:, -1] < float(self.doer.empty))
        long, put = np.array([LONG, A_PUSH, TOUCHES])[manner], manner == MANNERS.index("put")
        over = put & ((opened > AFTER) | vain) | (self.looks[rows] > long)
        over = ~self.back[rows] & (over | (pairs != self.pair[rows]).any(1))
        self.looks[rows] += 1
        self.looks[rows[over]] = 0
        self.back[rows] |= over
        self.put[rows] |= over & put & (opened > AFTER)
        self.opened[rows], self.pair[rows] = opened, pairs


def _straight(
    joints: Float[ndarray, "n J"], goal: Float[ndarray, "n J"], pace: float | Float[ndarray, " n"] = PACE
) -> Float[ndarray, "n c J"]:
    """Return a chunk of actions straight to joints, no faster than the pace."""
    ahead = np.broadcast_to(pace, len(joints))[:, None, None] * np.arange(1, CHUNK + 1)[:, None]
    way: ndarray = joints[:, None] + np.clip((goal - joints)[:, None], -ahead, ahead)
    return way
