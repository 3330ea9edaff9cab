"""How the time of a plan grows with samples, iterations, horizon and latent size, with our planner."""

from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.pairs import Measure, growth_row, timed
from benchmarks.plan_setup import OurPlanner, awake, longest, made_scene
from jepaflow.cli.benchmark import Budget
from jepaflow.common.results import Row
from jepaflow.worldmodel.encoder import EncoderConfig
from jepaflow.worldmodel.jepa import JEPAConfig

SEEN = 3
ITERATIONS = 3
"""Of every plan that is not about iterations: enough to average over, a tenth of the paper's."""


def growth_rows(name: str, budget: Budget, device: torch.device) -> list[Row]:
    """Return ``speed/scaling/samples``, ``iterations``, ``horizon`` and ``latent``."""
    base = replace(budget, iterations=min(ITERATIONS, budget.iterations), part=None)
    config, called = longest(name, SEEN, 2 * budget.horizon)
    blind = EncoderConfig(width=8, channels=(4,))  # no frame is encoded in what is timed
    config = replace(config, image_size=8, encoder=blind)

    def search(changed: Budget, model: JEPAConfig = config) -> Measure:
        ours = OurPlanner(awake(model, device), changed, made_scene(model, SEEN, device))
        latents = ours.encode()
        return timed(lambda: ours.plan(latents), device)

    varied: dict[str, tuple[list[int], Callable[[int], Measure]]] = {
        "samples": (_doubled(base.samples), lambda n: search(replace(base, samples=n))),
        "iterations": (_doubled(base.iterations), lambda n: search(replace(base, iterations=n))),
        "horizon": (_doubled(base.horizon), lambda n: search(replace(base, horizon=n))),
        "latent": (_doubled(config.latent_dim), lambda n: search(base, replace(config, latent_dim=n))),
    }
    rows = []
    for of, (sizes, make) in varied.items():
        note = (
            f"search alone, {called}; {base.samples} samples × {base.iterations} iterations × {base.horizon} blocks where they "
            f"do not vary; heads and perceptrons of the predictor keep their widths; {torch.get_num_threads()} threads"
        )
        rows.append(growth_row(of, sizes, [make(size) for size in sizes], max(2, budget.repeats), note))
    return rows


def _doubled(middle: int) -> list[int]:
    """A quarter, a half, once and twice a size; what falls together or to nothing is left out."""
    return sorted({max(1, middle // 4), max(1, middle // 2), middle, 2 * middle})
