"""G1: does "within h model steps" know walls? Judged by the simulator's shortest ways, against distance of latents.

    python -m benchmarks.reachability runs/maze --env maze [--within 3] [--json results/system2.json]

A pair of frames is truly within reach when the shortest way round walls is no longer than what the demonstrations cover
in h model steps at their middle pace. Half the pairs are of one held-out episode, a quarter of two, a quarter of two and
near in latent. Frames with a shut door are left out. What the head says is read through a table fitted on the training
episodes that the heads were not trained on (`ece`), or taken as it is (`ece_raw`).

Rows: ``reach/<env>/auc``, ``auc_near``, ``auc_wall`` (pairs that a crow would join within h), ``ece``, ``ece_raw``.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import write_results
from jepaflow.sims.disc import Arena
from jepaflow.sims.disc_env import DiscEnv
from jepaflow.sims.geodesic import Geodesic
from jepaflow.sims.registry import find_world
from jepaflow.subgoals.aside import set_aside
from jepaflow.subgoals.reach_figures import KINDS, ReachPairs, auc_row, ece_row, reach_pairs
from jepaflow.subgoals.reachability import Calibration, Reachability
from jepaflow.training.checkpoint import load_run
from jepaflow.training.heads import load_heads
from jepaflow.training.latents import Latents, cached_latents

PAIRS = 12_000
PACE = 0.8
"""middle pace of the demonstrations, as a share of the fastest"""


@dataclass(frozen=True)
class Args:
    """Judge reachability."""

    run: Annotated[Path, tyro.conf.Positional]
    """run with heads"""
    env: str = "maze"
    within: int = 3
    """h, model steps"""
    json: Path | None = None


@dataclass(frozen=True, eq=False)
class Asked:
    """Pairs with their truth."""

    pairs: ReachPairs
    way: np.ndarray
    """shortest way, model steps at the middle pace"""
    crow: np.ndarray
    """the same as the crow flies"""

    def label(self, h: int) -> np.ndarray:
        """Return 1 where truly within reach."""
        return (self.way <= h).astype(float)


def states(latents: Latents) -> np.ndarray:
    """Return the simulator state of every row."""
    corpus = latents.corpus
    found = np.empty((len(corpus), corpus.stores[0].dim("state")), np.float32)
    for number, store in enumerate(corpus.stores):
        mine = corpus.store_of == number
        found[mine] = store.read("state", corpus.row[mine])
    return found


def ask(latents: Latents, arena: Arena, block: int, cap: int, seed: int) -> Asked:
    """Draw pairs and look up their true ways."""
    pairs, known = reach_pairs(latents, PAIRS, cap * block, np.random.default_rng(seed)), states(latents)
    closed = (known[:, 4:] > 0.5).any(1)
    pairs = pairs.take(~(closed[pairs.a] | closed[pairs.b]))
    a, b = known[pairs.a, :2].astype(float), known[pairs.b, :2].astype(float)
    step = arena.speed * PACE * block
    return Asked(pairs, Geodesic(arena).distance(a, b) / step, np.hypot(*(a - b).T) / step)


def main(args: Args) -> None:
    """Measure and show."""
    world = find_world(args.env).make(8)
    if not isinstance(world, DiscEnv):
        raise JepaflowError(f"the shortest ways of {args.env} are not known. Choose two_room or maze.")
    run, heads, h = load_run(args.run, "cpu"), load_heads(args.run), args.within
    train, held_out = cached_latents(run)
    aside = set_aside(args.run, train)
    block, cap, reach = run.model.config.block, heads.distance.config.cap, Reachability(heads.distance)

    def said(latents: Latents, pairs: ReachPairs) -> np.ndarray:
        a, b = (latents.z[torch.from_numpy(rows)] for rows in (pairs.a, pairs.b))
        return reach.pairs_within(a, b, h)

    def apart(latents: Latents, pairs: ReachPairs) -> np.ndarray:
        a, b = (latents.z[torch.from_numpy(rows)] for rows in (pairs.a, pairs.b))
        return -heads.latent_distance.expected(a, b).numpy().astype(float)

    fitted, judged = ask(aside, world.config, block, cap, 1), ask(held_out, world.config, block, cap, 0)
    raw, flat, label = said(held_out, judged.pairs), apart(held_out, judged.pairs), judged.label(h)

    episodes = held_out.corpus.episode[judged.pairs.a]
    table = Calibration.fit(said(aside, fitted.pairs), fitted.label(h))
    flat_table = Calibration.fit(apart(aside, fitted.pairs), fitted.label(h))
    note = f"within {h} model steps of {block}; truth: shortest way round walls at {PACE:g} of the fastest pace, held-out episodes"
    subsets = {"auc": raw >= 0, "auc_near": judged.pairs.kind == KINDS.index("near"), "auc_wall": judged.crow <= h}
    words = {
        "auc_near": "; only of two episodes, near in latent",
        "auc_wall": "; only pairs as near as that for a crow",
    }
    rows = [
        auc_row(f"reach/{args.env}/{name}", raw[k], flat[k], label[k], episodes[k], note + words.get(name, ""))
        for name, k in subsets.items()
    ]
    plain = {"latent": flat_table(flat), "base_rate": np.full(len(raw), fitted.label(h).mean())}
    calibrated = f"{note}; read through a table fitted on training episodes set aside"
    rows += [
        ece_row(f"reach/{args.env}/ece", table(raw), label, plain, episodes, calibrated),
        ece_row(f"reach/{args.env}/ece_raw", raw, label, plain, episodes, f"{note}; as the head says it"),
    ]
    for row in rows:
        console.print(
            f"{row.name} {row.value:.3f} ({row.low:.3f} – {row.high:.3f}), n {row.n}, {row.floors}; {row.note}"
        )
    if args.json is not None:
        write_results(args.json, shlex.join(["python -m benchmarks.reachability", *sys.argv[1:]]), rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
