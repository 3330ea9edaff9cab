"""The same world in another look: light, colours, the camera's place, things that have no part in the task.

A simulated world is recorded again with one factor of variation fixed to another value and everything else, every motion
included, as it was. A model that never saw a change is asked on each recording: how well does it foretell what it sees
(skill), can the places still be read from its latents by probes of the usual look (R²), and how far do latents move from those
of the very same instant in the usual look (agreement)? And, in closed loop: does its planner still reach its goals, the same
trials in every look, pictures of the goals included?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.data.store import Store
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.forecast import cut_windows, measure_forecast
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.diagnosis.probe_data import encode
from jepaflow.diagnosis.resample import Estimate
from jepaflow.evaluation.named import load_protocol
from jepaflow.studies.abroad import probed
from jepaflow.studies.cells import Cell, Measure, Result, Study, with_steps
from jepaflow.studies.disturbed import agreement
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.marks import store_mark
from jepaflow.studies.measures import Foretelling, Reading, Shape
from jepaflow.studies.readings import Ratio, Readings, pool, pool_gain
from jepaflow.studies.recipe import collected
from jepaflow.studies.sight import Seeing
from jepaflow.studies.success import FLOORS, Success, attempt
from jepaflow.training.config import TrainConfig

HORIZON = 5


@dataclass(frozen=True)
class Looks:
    """Ratios ``<look>:skill``, ``<look>:<target>_r2`` and, but for the usual look, ``<look>:agreement``."""

    stores: tuple[Path, ...]
    """the usual look first"""
    marks: tuple[str, ...]
    horizon: int = HORIZON
    name: str = "looks"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the figures depend on."""
        return {"stores": list(self.marks), "horizon": self.horizon, "version": 1}

    def __call__(self, evidence: Evidence) -> Readings:
        """Look at every recording."""
        ratios: dict[str, Ratio] = {}
        usual: list[Trajectory] = []
        model = evidence.model
        for path in self.stores:
            store = Store(path)
            along = encode(evidence.run, store, list(range(store.num_episodes)))
            windows = cut_windows(along, model.config.history, self.horizon)
            if windows is None:
                raise JepaflowError(f"No episode of {path} is long enough for a forecast. Record longer ones.")
            errors = measure_forecast(model, windows)
            ratios[f"{path.stem}:skill"] = Ratio(errors.episodes, errors.model, errors.copy, errors.count)
            read = probed((evidence.store, evidence.fitted_on), (store, along), model.config.block)
            ratios |= {f"{path.stem}:{name}": one for name, one in read.items()}
            if usual:
                ratios[f"{path.stem}:agreement"] = agreement(along, usual)
            usual = usual or along
        return Readings(ratios)


@dataclass(frozen=True)
class SuccessInLooks:
    """Ratio ``<look>:success`` and scalars ``<look>:success_random`` and so on (`Success`), look by look.

    Raises:
        JepaflowError: a look changes more than looks.
    """

    plain: Success
    looks: tuple[tuple[str, tuple[str, ...]], ...]
    """Names, with the factors that are fixed in each; the usual look first."""
    name: str = "success_in_looks"

    def __post_init__(self) -> None:
        for _, fix in self.looks:  # now, and not after the first training
            load_protocol(self.plain.protocol).first(1).dressed(fix)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the figures depend on."""
        return {**self.plain.settings, "looks": [[name, *fix] for name, fix in self.looks], "dressed": 2}

    def __call__(self, evidence: Evidence) -> Readings:
        """Plan the same trials in every look."""
        trials, found = load_protocol(self.plain.protocol).first(self.plain.trials), Readings({}, {})
        bounds: dict[tuple[str, ...], Mapping[str, float]] = {}  # no floor looks; clutter alone can stand in its way
        for name, fix in self.looks:
            clutter = tuple(word for word in fix if word.startswith("distractors"))
            one = attempt(evidence, trials.dressed(fix), bounds.get(clutter))
            bounds[clutter] = {key: value for key, value in one.scalars.items() if value is not None}
            ratios = {f"{name}:{key}": value for key, value in one.ratios.items()}
            found = found.merged(Readings(ratios, {f"{name}:{key}": value for key, value in one.scalars.items()}))
        return found


def fixed(store: Path, protocol: str) -> tuple[str, ...]:
    """Return the factors of a look, for trials of a protocol.

    Raises:
        JepaflowError: there is no record of them, they varied, or the recordings are of another world than the protocol.
    """
    record, env = collected(store), load_protocol(protocol).env
    where = store.with_suffix("")
    if not record:
        raise JepaflowError(
            f"Nothing says what was changed in {store}: the dataset that it was converted from is not at {where}. Put it there, "
            "or leave --success out."
        )
    if record.get("vary"):
        raise JepaflowError(
            f"The look of {where} was drawn anew in every episode. Record looks with --fix, not --vary."
        )
    if record["env"] != env:
        raise JepaflowError(
            f"{where} was recorded in {record['env']}, the protocol {protocol} is of {env}. Choose alike."
        )
    return tuple(record.get("fix", ()))


def check_pairs(stores: Sequence[Path]) -> None:
    """Refuse recordings that are not of the same motions.

    Raises:
        JepaflowError: naming the first that is not.
    """
    usual = Store(stores[0])
    told = usual.read("action", np.arange(usual.length))
    for path in stores[1:]:
        other = Store(path)
        same = other.ep_len.tolist() == usual.ep_len.tolist()
        if not same or not np.array_equal(other.read("action", np.arange(other.length)), told):
            raise JepaflowError(
                f"{path} does not hold the same actions as {stores[0]}, so instants cannot be compared. Record both with the "
                "same --seed and --episodes, and a --fix that changes the look alone."
            )


def looks_study(config: TrainConfig, stores: Sequence[Path], seeds: int, extra: Sequence[Measure] = ()) -> Study:
    """One cell for each seed, judged on every look.

    Args:
        config: of the training, on the usual look.
        stores: the usual look, then the changed ones.
        seeds: how many.
        extra: measures beside the study's own.

    Raises:
        JepaflowError: for fewer than two stores, two of one name, or other motions.
    """
    if len(stores) < 2 or len({path.stem for path in stores}) < len(stores):
        raise JepaflowError("Name the usual look and at least one other, as stores with names of their own.")
    check_pairs(stores)
    usual = with_steps(config, config.steps)
    cells = [Cell("usual", replace(usual, seed=seed)) for seed in range(config.seed, config.seed + seeds)]
    looks = Looks(tuple(stores), tuple(store_mark(path) for path in stores))
    own = (Foretelling(HORIZON, config.history), Shape(), Reading(), Seeing(HORIZON), looks)
    return Study("looks", tuple(cells), (*own, *extra))


@dataclass(frozen=True)
class Look:
    """One recording: ``skill@1``, ``skill@5``, ``<target>_r2``, ``agreement``; where there is a protocol ``success``, and
    ``success_change`` against the usual look, trial by trial."""

    name: str
    figures: Mapping[str, Estimate]
    seeds: Mapping[str, tuple[float, ...]]
    bounds: Mapping[str, float] = field(default_factory=dict)
    """Success of the floors (`success.FLOORS`) and of ``replay``, the ceiling."""


def gather(results: Sequence[Result]) -> tuple[Look, ...]:
    """Pool seeds; the usual look first."""
    runs, names = [result.readings for result in results], []
    for key in runs[0].ratios:
        look, colon, _ = key.partition(":")
        if colon and look not in names:
            names.append(look)
    return tuple(_look(name, names[0], runs) for name in names)


def _look(look: str, usual: str, runs: Sequence[Readings]) -> Look:
    figures, seeds = {}, {}
    for key in runs[0].ratios:
        if not key.startswith(f"{look}:"):
            continue
        name, estimates = key.partition(":")[2], pool([one.ratios[key] for one in runs])
        for h in (1, len(estimates)) if name == "skill" else (1,):
            label = f"skill@{h}" if name == "skill" else name
            figures[label] = estimates[h - 1]
            seeds[label] = tuple(float(one.ratios[key].values()[h - 1]) for one in runs)
    reached = [one.ratios[f"{look}:success"] for one in runs] if "success" in figures else []
    if reached and look != usual:
        before = [one.ratios[f"{usual}:success"] for one in runs]
        figures["success_change"] = pool_gain(reached, before)[0]
        seeds["success_change"] = tuple(float(a.values()[0] - b.values()[0]) for a, b in zip(reached, before))
    bounds = {
        which: float(np.mean([one.scalars[f"{look}:success_{which}"] for one in runs]))
        for which in (*FLOORS, "replay")
        if reached
    }
    return Look(look, figures, seeds, bounds)


def looks_rows(found: Sequence[Look], stem: str, seeds: int) -> tuple[Row, ...]:
    """Rows ``<stem>/<look>/<figure>``."""
    rows: list[Row] = []
    over = "95 % interval over seeds and episodes"
    for look in found:
        for name, one in look.figures.items():
            if name.startswith("success"):
                rows += _success_row(f"{stem}/{look.name}/{name}", one, look, seeds)
                continue
            if name == "agreement":
                note, unit, floors = (
                    "1 − distance²/variance to the same instants in the usual look",
                    "fraction",
                    "mean_latent",
                )
            elif name.endswith("_r2"):
                note, unit, floors = "probe fitted on training episodes", "R²", "mean"
            else:
                note, unit, floors = "what is seen in this look, foretold", "skill", "copy_last"
            usual = {} if look is found[0] or name == "agreement" else {"usual": found[0].figures[name].value}
            rows += as_row(f"{stem}/{look.name}/{name}", one, unit, f"{note}; {over}", {floors: 0.0}, usual, seeds)
    return tuple(rows)


def _success_row(name: str, one: Estimate, look: Look, seeds: int) -> list[Row]:
    over = "95 % interval over seeds and trials"
    if name.endswith("_change"):
        return as_row(
            name, one, "fraction", f"against the usual look, trial by trial; {over}", {"no_change": 0.0}, seeds=seeds
        )
    floors, ceilings = {which: look.bounds[which] for which in FLOORS}, {"replay": look.bounds["replay"]}
    note = f"share of trials whose goal is reached at some time in this look, goal pictures too; {over}"
    return as_row(name, one, "fraction", note, floors, ceilings, seeds)
