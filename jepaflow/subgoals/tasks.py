"""What a reward that does not add up along edges may depend on: start, goal, and marks on the nodes.

Every condition of this room says something of single nodes: "this is A", "avoid this", "the first plan that was tried went
here". So a task is start, goal and M rows of marks, and one network serves all rewards: it is told the marks of a node, how far
it is to the nearest marked one, and which marks the walk has met.

Legend: C tasks, M kinds of marks, N nodes, G goals of the prior.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.exact import Flows
from jepaflow.subgoals.graph import FAR, Graph


@dataclass(frozen=True, eq=False)
class Tasks:
    """Conditions, in rows."""

    start: Int[ndarray, " C"]
    """node"""
    goal: Int[ndarray, " C"]
    """position among the prior's goals"""
    marks: Bool[ndarray, "C M N"]

    def __len__(self) -> int:
        return len(self.start)

    def some(self, which: Int[ndarray, " c"]) -> "Tasks":
        """Choose tasks by position."""
        return Tasks(self.start[which], self.goal[which], self.marks[which])

    def repeated(self, times: int) -> tuple[Int[ndarray, " W"], "Tasks"]:
        """Every task `times` times in a row: for walks one by one."""
        task = np.repeat(np.arange(len(self)), times)
        return task, self.some(task)


def hop_table(graph: Graph) -> Int[ndarray, "N N"]:
    """Fewest edges from every node (column) to every node (row)."""
    return graph.hops(np.arange(graph.nodes))


def nearest_mark(hops: Int[ndarray, "N N"], marks: Bool[ndarray, "C M N"]) -> Int[ndarray, "C M N"]:
    """Fewest edges from every node to a marked one; `FAR` where there is none."""
    found = np.full(marks.shape, FAR, np.int64)
    for task, kind in np.ndindex(marks.shape[:2]):
        found[task, kind] = hops[marks[task, kind]].min(0, initial=FAR)
    return found


def far_pairs(
    flows: Flows, count: int, least: int, spare: int, rng: np.random.Generator
) -> tuple[Int[ndarray, " C"], Int[ndarray, " C"]]:
    """Draw starts and goals' positions, at least `least` and at most K - `spare` edges apart, no pair twice.

    Raises:
        JepaflowError: there are not so many.
    """
    hops = flows.graph.hops(flows.goals)
    goal, start = np.nonzero((hops >= least) & (hops <= flows.horizon - spare))
    if len(goal) < count:
        raise JepaflowError(
            f"Only {len(goal)} pairs are {least} to {flows.horizon - spare} edges apart. Ask for fewer tasks."
        )
    chosen = rng.choice(len(goal), count, replace=False)
    return start[chosen], goal[chosen]
