"""A model on another arm: as it is, and with nothing but the mix of its actions fitted anew.

The encoder and the predictor stay as they are. *Re-aligned* means that the first layer of the action encoder, a linear map of
a block of actions, is fitted on some episodes of the new arm, so that the forecasts made with it meet what came: joints are
found again, perhaps turned or mixed, and nothing else is learnt.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from jepaflow.data.split import split_episodes
from jepaflow.data.store import Store
from jepaflow.diagnosis.forecast import cut_windows, measure_forecast
from jepaflow.diagnosis.foresight import owners
from jepaflow.diagnosis.geometry import measure_geometry
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.diagnosis.probe_data import encode
from jepaflow.diagnosis.probe_targets import read_targets
from jepaflow.diagnosis.ridge import FOLDS, ridge
from jepaflow.studies.evidence import PROBE_EPISODES, Evidence, stacked
from jepaflow.studies.measures import find_places
from jepaflow.studies.readings import Ratio, Readings, sum_by_episode
from jepaflow.studies.sight import gain
from jepaflow.worldmodel.jepa import JEPA

STEPS, BATCH, RATE = 300, 128, 1e-3
"""of fitting the mix: a few thousand weights on latents that are known already"""


@dataclass(frozen=True)
class Abroad:
    """On the fresh episodes: ratios ``abroad_skill``, ``abroad_gain``, ``abroad_<target>_r2``, and for each size
    ``realigned_<size>_skill`` and ``_gain``; the scalar ``abroad_rank``. Nothing for a run that has none.
    """

    sizes: tuple[int, ...] = (5, 20, 100)
    horizon: int = 5
    name: str = "abroad"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the figures depend on."""
        return {"sizes": list(self.sizes), "horizon": self.horizon, "steps": STEPS, "version": 1}

    def __call__(self, evidence: Evidence) -> Readings:
        """Go there."""
        if evidence.fresh is None or evidence.fresh_store is None:
            return Readings()
        found = self._judged(evidence.model, evidence.fresh, "abroad")
        geometry, _ = measure_geometry(evidence.fresh)
        known = self._known(evidence, evidence.fresh_store)
        for size in self.sizes:
            model = realigned(evidence.model, known[:size], evidence.run.config["seed"])
            found |= self._judged(model, evidence.fresh, f"realigned_{size}")
        store = evidence.fresh_store
        read = probed((store, known), (store, evidence.fresh), evidence.model.config.block)
        found |= {f"abroad_{name}": one for name, one in read.items()}
        return Readings(found, {"abroad_rank": geometry.effective_rank.value})

    def _known(self, evidence: Evidence, store: Store) -> list[Trajectory]:
        """The new arm's training episodes in the nested order, as the model sees them."""
        dataset = evidence.run.config["dataset"]
        seen: list[int] = []
        for size in (*self.sizes, PROBE_EPISODES):
            split = split_episodes(store.num_episodes, dataset["val_fraction"], dataset["split_seed"], size)
            seen += [e for e in split.train if e not in seen]
        return encode(evidence.run, store, seen)

    def _judged(self, model: JEPA, along: list[Trajectory], name: str) -> dict[str, Ratio]:
        windows = cut_windows(along, model.config.history, self.horizon)
        if windows is None:
            return {}
        errors = measure_forecast(model, windows)
        skill = Ratio(errors.episodes, errors.model, errors.copy, errors.count)
        return {f"{name}_skill": skill, f"{name}_gain": gain(errors)}


def realigned(model: JEPA, known: list[Trajectory], seed: int) -> JEPA:
    """A copy whose mix of actions is fitted on these episodes; the model itself when they have no window.

    Args:
        model: stays as it is.
        known: episodes of the other arm, as the model sees them.
        seed: of the order of the windows.
    """
    windows = cut_windows(known, model.config.history, 1)
    if windows is None:
        return model
    own = copy.deepcopy(model).eval().requires_grad_(False)
    mix = own.action_encoder.mix.requires_grad_(True)
    optimizer = torch.optim.Adam(mix.parameters(), RATE)
    blocks, target = torch.cat([windows.past, windows.future[:, :1]], 1), windows.target[:, 0]
    rng = np.random.default_rng(seed)
    for _ in range(STEPS):
        some = torch.from_numpy(rng.integers(0, len(target), BATCH))
        history, told, came = (part[some].to(own.device) for part in (windows.history, blocks, target))
        loss = (own.predict(history, told)[:, -1] - came).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return own.requires_grad_(False)


def probed(
    fitted_on: tuple[Store, list[Trajectory]], judged: tuple[Store, list[Trajectory]], block: int
) -> dict[str, Ratio]:
    """R² of places read linearly from the latents, as `Reading` has it, of any stores: ratios ``<target>_r2``.

    Args:
        fitted_on: a store and episodes of it that probes are fitted on; nothing is read where they are fewer than `FOLDS`.
        judged: those that they are judged on; the same columns.
        block: K.
    """
    known, along = fitted_on[1], judged[1]
    if len(known) < FOLDS:
        return {}
    ratios = {}
    for target in find_places(fitted_on[0]):
        true, truth = (
            np.concatenate([read_targets(store, [target], t.episode, t.phase, block) for t in some])
            for store, some in (fitted_on, judged)
        )
        scale = np.where(true.std(0) > 1e-9, true.std(0), np.inf)
        reader = ridge((stacked(known).double().numpy(), true, owners(known)))
        read = reader.read(stacked(along).double().numpy())
        off, spread = (np.square(part / scale).mean(1, keepdims=True) for part in (read - truth, truth - truth.mean(0)))
        if spread.sum() > 0:
            ratios[f"{target.name}_r2"] = sum_by_episode(off, spread, np.ones_like(off, bool), owners(along))
    return ratios
