"""A planner that never keeps a robot waiting: it thinks in a thread of its own, about the time when it will be ready.

While block n is executed, the worker encodes the frames at its beginning and searches a plan for the step at which the
search will be over, judged by how long the last one took. The blocks until then are known: the plans found so far say
what will be executed. They are imagined first, and the new plan goes on from there. What comes in while the worker is
busy waits; only the newest frames are planned from, older ones become history.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from jepaflow.planning.schedule import Schedule, TimedPlan
from jepaflow.planning.thinker import Thinker

MARGIN = 1.2
"""A search may take this much longer than the last one and still be ready in time."""


class Background:
    """Runs a thinker in a thread.

    Args:
        thinker: used by the thread alone from the first `look` to `settle`.
        history: H, frames that the model sees.
        horizon: N; a plan is never begun further ahead than this.
    """

    def __init__(self, thinker: Thinker, history: int, horizon: int) -> None:
        self._thinker, self._history, self._horizon = thinker, history, horizon
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="planner")
        self._jobs: deque[Future[TimedPlan | None]] = deque()
        self._newest, self._looked, self._period = -1, 0.0, np.inf

    def begin(self, known: Schedule) -> None:
        """Begin an episode; `known` is the worker's own copy of the schedule."""
        self._known, self._newest, self._period = known, -1, np.inf

    def ready(self) -> list[TimedPlan]:
        """Return the plans found since the last call.

        Raises:
            Exception: what went wrong in the thread.
        """
        found = []
        while self._jobs and self._jobs[0].done():
            found.append(self._jobs.popleft().result())
        return [plan for plan in found if plan is not None]

    def look(
        self,
        step: int,
        pixels: UInt8[np.ndarray, "E V S S 3"],
        proprio: Float32[np.ndarray, "E P"] | None,
        block: Float[Tensor, "E K A"],
        expected: Float[Tensor, "E D"] | None,
    ) -> None:
        """Hand over (copies of) the frames of a model step and the block that is executed in it."""
        now = time.perf_counter()
        if step > 0:
            self._period = now - self._looked
        self._looked, self._newest = now, step
        state = None if proprio is None else np.array(proprio)
        self._jobs.append(self._pool.submit(self._work, step, np.array(pixels), state, block, expected))

    def settle(self) -> None:
        """Wait until the worker is idle; what it found or met, and what waited for it, is forgotten."""
        self._newest = -1
        while self._jobs:
            job = self._jobs.popleft()
            if not job.cancel():
                job.exception()

    def close(self) -> None:
        """End the thread."""
        self.settle()
        self._pool.shutdown()

    @torch.no_grad()
    def _work(
        self, step: int, pixels: np.ndarray, proprio: np.ndarray | None, block: Tensor, expected: Tensor | None
    ) -> TimedPlan | None:
        """Take in the frames of a step; plan unless newer ones wait."""
        if self._newest - step >= self._history:
            self._thinker.forget()  # too old to be history for the newest
            return None
        began = time.perf_counter()
        self._thinker.see(pixels, proprio, expected)
        found = None
        if step == self._newest:
            lead = 1 + min(int(MARGIN * self._thinker.last_seconds / self._period), self._horizon - 1)
            committed = [block, *self._known.blocks(step + 1, lead - 1, block[:, -1])]
            found = self._thinker.plan(step + lead, committed[-1][:, -1], committed, began)
            self._known.add(found)
        self._thinker.did(block)
        return found
