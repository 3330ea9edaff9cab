"""torchgfn's trajectory balance on the hyper-grid, for `benchmarks.hypergrid --torchgfn PYTHON`: runs in an environment of its own.

torchgfn wants numpy 1 and thirty packages more; nothing here is imported by jepaflow. The settings of its simple hyper-grid
example: perceptrons of two times 256 on K-hot cells, a learned backward policy on the same trunk, Adam at 1e-3 and at 1e-1 for
log Z. The terminating distribution is exact: mass is pushed through the policy cell by cell. Prints one line of JSON.
"""

import json
import sys

import torch
from gfn.estimators import DiscretePolicyEstimator
from gfn.gflownet import TBGFlowNet
from gfn.gym import HyperGrid
from gfn.preprocessors import KHotPreprocessor
from gfn.utils.modules import MLP


def terminating(env: HyperGrid, forward: DiscretePolicyEstimator, side: int) -> torch.Tensor:
    """Exact probability of ending at each cell (side, side)."""
    cells = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    states = env.states_from_tensor(cells)
    with torch.no_grad():
        chance = forward.to_probability_distribution(states, forward(states)).probs.view(side, side, 3).double()
    visits, ends = torch.zeros(side, side, dtype=torch.double), torch.zeros(side, side, dtype=torch.double)
    visits[0, 0] = 1.0
    for i in range(side):
        for j in range(side):
            ends[i, j] = visits[i, j] * chance[i, j, 2]
            if i + 1 < side:
                visits[i + 1, j] += visits[i, j] * chance[i, j, 0]
            if j + 1 < side:
                visits[i, j + 1] += visits[i, j] * chance[i, j, 1]
    return ends


def main(side: int, steps: int, walks: int, seed: int) -> None:
    """Train and print total variation and log Z."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    env = HyperGrid(ndim=2, height=side, reward_fn_kwargs={"R0": 0.01, "R1": 0.5, "R2": 2.0})
    hot = KHotPreprocessor(height=side, ndim=2)
    forward = DiscretePolicyEstimator(MLP(hot.output_dim, env.n_actions), env.n_actions, preprocessor=hot)
    backward = DiscretePolicyEstimator(
        MLP(hot.output_dim, env.n_actions - 1, trunk=forward.module.trunk),
        env.n_actions,
        preprocessor=hot,
        is_backward=True,
    )
    flow = TBGFlowNet(forward, backward, init_logZ=0.0)
    optimizer = torch.optim.Adam(flow.pf_pb_parameters(), lr=1e-3)
    optimizer.add_param_group({"params": flow.logz_parameters(), "lr": 1e-1})
    for _ in range(steps):
        walked = flow.sample_trajectories(env, n=walks, save_logprobs=False, epsilon=0.1)
        loss = flow.loss(env, walked, recalculate_all_logprobs=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    cells = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    target = env.reward(env.states_from_tensor(cells)).view(side, side).double()
    tv = 0.5 * (terminating(env, forward, side) - target / target.sum()).abs().sum()
    error = abs(float(flow.logZ) - float(target.sum().log()))
    print(json.dumps({"tv": float(tv), "log_z_error": error}))


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:5]))
