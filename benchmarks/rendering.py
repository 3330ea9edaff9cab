"""How fast the arms' pictures are drawn, by OpenGL and by rays, on one core.

    python -m benchmarks.rendering [--json results/rendering.json]

Rows: ``render/gl@<px>`` and ``render/ray@<px>``, pictures a second. Two cameras look at the SO-101 picking a cube and
placing it in a bin, in states spread over one episode of the scripted expert; only drawing is timed, not physics. Software
OpenGL draws in the calling thread (LP_NUM_THREADS=0, which `jepaflow.sims` sets), so each row is one process on one core.
"""

import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row, write_results
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.expert import ArmExpert
from jepaflow.sims.rendering import make_renderer


@dataclass(frozen=True)
class Args:
    """Measure the renderers."""

    sizes: tuple[int, ...] = (64, 96, 224)
    """picture sides, px"""
    states: int = 25
    """states of the episode that are drawn in each repeat"""
    repeats: int = 9
    """how often each row is measured"""
    json: Path | None = None


def episode(count: int) -> tuple[ArmEnv, list[np.ndarray]]:
    """Return a world and `count` states spread over an episode of its expert."""
    env = ArmEnv("so101", "pick_place", image_size=8, renderer="ray")
    env.reset(seed=0)
    expert, states = ArmExpert(env, np.random.default_rng(0)), []
    while not expert.done:
        env.advance(expert.act())
        states.append(env.get_state())
    return env, [states[i] for i in np.linspace(0, len(states) - 1, count).astype(int)]


def measure(env: ArmEnv, states: list[np.ndarray], backend: str, size: int, repeats: int) -> Row:
    """Draw both cameras in all states, repeatedly; return pictures a second."""
    model, data = env.desk.model, env.desk.data
    renderer = make_renderer(model, backend)
    cameras = [model.camera(name).id for name in ("laptop", "phone")]
    renderer.render(model, data, cameras, size)
    rates = []
    for _ in range(repeats):
        spent = 0.0
        for state in states:
            env.set_state(state)
            begun = time.perf_counter()
            renderer.render(model, data, cameras, size)
            spent += time.perf_counter() - begun
        rates.append(len(states) * len(cameras) / spent)
    note = f"median, min and max of {repeats} times {len(states)} states, two cameras; one process, one core"
    return Row(
        f"render/{backend}@{size}", float(np.median(rates)), min(rates), max(rates), repeats, 1, "pictures/s", note=note
    )


def main(args: Args) -> None:
    """Measure every renderer that works here and write the rows."""
    if os.environ.get("LP_NUM_THREADS") != "0":
        raise SystemExit("Software OpenGL would use several cores. Leave LP_NUM_THREADS unset, or set it to 0.")
    env, states = episode(args.states)
    rows = []
    for backend in ("gl", "ray"):
        try:
            rows += [measure(env, states, backend, size, args.repeats) for size in args.sizes]
        except JepaflowError as error:
            console.print(f"no rows for {backend}: {error}")
    for row in rows:
        console.print(f"{row.name}: {row.value:,.0f} ({row.low:,.0f} – {row.high:,.0f}) {row.unit}; {row.note}")
    if args.json is not None:
        write_results(args.json, shlex.join(["python", "-m", "benchmarks.rendering", *sys.argv[1:]]), rows)


if __name__ == "__main__":
    main(tyro.cli(Args))
