"""The hyper-grid as one of our graphs: the oracle's terminating distribution is the reward's, whatever the side."""

import numpy as np
import pytest

from benchmarks.hypergrid import grid, reward, terminating
from jepaflow.subgoals.exact import solve


@pytest.mark.parametrize("side", [2, 3, 8])
def test_walks_end_in_proportion_to_the_reward(side: int) -> None:
    graph, shift = grid(side)
    assert graph.edges == 2 * side * (side - 1) + side * side
    flows = solve(graph, np.array([side * side]), 2 * side - 1, 1.0)
    total = reward(side).sum()
    np.testing.assert_allclose(terminating(flows, side), reward(side).flatten() / total, atol=1e-12)
    assert flows.log_z[0, 0] + shift == pytest.approx(np.log(total))


def test_the_textbook_s_rewards() -> None:
    assert reward(8).max() == pytest.approx(2.51) and reward(8).min() == pytest.approx(0.01)
    assert np.log(reward(8).sum()) == pytest.approx(2.8118093, abs=1e-6)
