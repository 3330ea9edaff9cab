"""From one arm to another and back: what does a model of the first save on the second?

Arms differ in the number and the meaning of their joints. So both stores are brought to a common form first (actions
z-scored, filled up with zeros to the width of the wider one), in which a model of one arm can be given the other's actions at
all. Then, on the second arm's held-out episodes: the model as it is (*zero-shot*), with the mix of its actions re-aligned
(:mod:`jepaflow.studies.abroad`), trained on with 5, 20, 100 episodes, and a model from scratch on the same episodes for the
same steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row
from jepaflow.data.split import Split, split_episodes
from jepaflow.data.store import Store
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.resample import Estimate
from jepaflow.studies.abroad import Abroad
from jepaflow.studies.cells import Cell, Result, Study, with_steps
from jepaflow.studies.measures import Foretelling, Reading, Shape
from jepaflow.studies.readings import Readings, pool, pool_gain
from jepaflow.studies.sight import Seeing
from jepaflow.studies.slices import normalised
from jepaflow.training.config import TrainConfig

SIZES = (5, 20, 100)
HORIZON = 5
SHOWN = (1, HORIZON)


@dataclass(frozen=True)
class Arm:
    """One of the two: its store in the common form, who trains and who judges."""

    name: str
    store: Path
    split: Split

    def sizes(self, wanted: Sequence[int]) -> tuple[int, ...]:
        """Those that it has episodes for; one that is too large becomes all."""
        return tuple(sorted({min(size, len(self.split.train)) for size in wanted}))


def find_arms(config: TrainConfig, folder: Path) -> tuple[Arm, Arm]:
    """Both arms, their stores written where they are not there yet.

    Args:
        config: of the training, with two stores.
        folder: where the stores in the common form go.

    Raises:
        JepaflowError: for other than two stores, or one without actions.
    """
    paths, dataset = config.dataset.path, config.dataset
    if len(paths) != 2 or paths[0].stem == paths[1].stem:
        raise JepaflowError("This study goes from one arm to another: name two stores, --dataset.path A.h5 B.h5.")
    stores = [Store(path) for path in paths]
    if bare := [one for one in stores if "action" not in one.columns]:
        raise JepaflowError(f"{bare[0].path} has no actions. Name two stores of arms.")
    width, found = max(store.dim("action") for store in stores), []
    for store in stores:
        split = split_episodes(store.num_episodes, dataset.val_fraction, dataset.split_seed)
        found.append(Arm(store.path.stem, normalised(store.path, folder, width, split.train), split))
    return found[0], found[1]


def arms_study(config: TrainConfig, arms: tuple[Arm, Arm], seeds: int, sizes: Sequence[int] = SIZES) -> Study:
    """For each arm and seed: a model of it, then, on the other's episodes, models that begin from it and from scratch.

    Args:
        config: of the training; models on the other arm get half its steps.
        arms: as `find_arms` returns them.
        seeds: of each.
        sizes: episodes of the other arm.
    """
    cells, half = [], max(1, config.steps // 2)

    def on(arm: Arm, seed: int, steps: int, episodes: int | None = None) -> TrainConfig:
        dataset = replace(config.dataset, path=(arm.store,), episodes=episodes)
        return with_steps(replace(config, dataset=dataset, seed=seed), steps)

    for seed in range(config.seed, config.seed + seeds):
        for home, away in (arms, arms[::-1]):
            first = Cell(f"{home.name}", on(home, seed, config.steps), fresh=(away.store, away.split.val))
            cells.append(first)
            for size in away.sizes(sizes):
                there = on(away, seed, half, size)
                known = away.split.train
                cells.append(Cell(f"{away.name}-scratch-{size}", there, fitted_on=known))
                cells.append(Cell(f"{away.name}-tuned-{size}", there, fitted_on=known, start=first))
    measures = (
        Foretelling(HORIZON, config.history),
        Shape(),
        Reading(),
        Seeing(HORIZON),
        Abroad(tuple(sizes), HORIZON),
    )
    return Study("arms", tuple(cells), measures)


@dataclass(frozen=True)
class Way:
    """One direction: figures on the second arm's held-out episodes, by what was done and episodes of it."""

    home: str
    away: str
    sizes: tuple[int, ...]
    figures: Mapping[tuple[str, int], Mapping[str, Estimate]]
    """(``zero-shot``, 0), (``realigned``, n), (``tuned``, n), (``scratch``, n): skill@1, skill@5, gain@1, R²"""
    saved: Mapping[int, Estimate]
    """skill@1 that the beginning is worth against from scratch, by size, seed by seed"""

    @property
    def target(self) -> str | None:
        """What is read from the latents."""
        return next((name for name in self.figures["zero-shot", 0] if name.endswith("_r2")), None)


def gather(results: Sequence[Result], arms: tuple[Arm, Arm], sizes: Sequence[int] = SIZES) -> tuple[Way, Way]:
    """Pool seeds of each setting, there and back."""
    runs: dict[str, list[Readings]] = {}
    for result in results:
        runs.setdefault(result.cell.name, []).append(result.readings)
    return _way(runs, arms[0], arms[1], sizes), _way(runs, arms[1], arms[0], sizes)


def _way(runs: Mapping[str, Sequence[Readings]], home: Arm, away: Arm, sizes: Sequence[int]) -> Way:
    at_home, own = runs[home.name], away.sizes(sizes)
    figures = {("zero-shot", 0): _figures(at_home, "abroad_", "abroad_")}
    saved = {}
    for size in own:
        # The measure names what was asked for; where there were fewer episodes, it had all of them.
        asked = next(one for one in sorted(sizes) if min(one, len(away.split.train)) == size)
        figures["realigned", size] = _figures(at_home, f"realigned_{asked}_", "abroad_")
        for kind in ("tuned", "scratch"):
            figures[kind, size] = _figures(runs[f"{away.name}-{kind}-{size}"], "", "")
        tuned, scratch = (
            [r.ratios["skill"] for r in runs[f"{away.name}-{kind}-{size}"]] for kind in ("tuned", "scratch")
        )
        saved[size] = pool_gain(tuned, scratch)[0]
    return Way(home.name, away.name, own, figures, saved)


def _figures(runs: Sequence[Readings], begins: str, reads: str) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    skills = pool([one.ratios[f"{begins}skill"] for one in runs])
    found |= {f"skill@{h}": skills[h - 1] for h in SHOWN if h <= len(skills)}
    hearing = f"{begins}gain" if begins else "action_gain"
    found["gain@1"] = pool([one.ratios[hearing] for one in runs])[0]
    for name in runs[0].ratios:
        if name.startswith(reads) and name.endswith("_r2"):
            found[name.removeprefix(reads)] = pool([one.ratios[name] for one in runs])[0]
    return found


def arms_rows(ways: Sequence[Way], stem: str, seeds: int) -> tuple[Row, ...]:
    """Rows ``<stem>/<home>_to_<away>/<what was done>/<figure>``, with ``/n=<episodes>`` where there are any."""
    rows: list[Row] = []
    over = "95 % interval over seeds and the second arm's held-out episodes"
    for way in ways:
        at = f"{stem}/{way.home}_to_{way.away}"
        for (kind, size), figures in way.figures.items():
            for name, one in figures.items():
                unit = "R²" if name.endswith("_r2") else "skill"
                floors = {"mean" if unit == "R²" else "other_actions" if name == "gain@1" else "copy_last": 0.0}
                note = f"{kind}, {size} episodes of {way.away}; {over}"
                end = f"/n={size}" if size else ""
                rows += as_row(f"{at}/{kind}/{name}{end}", one, unit, note, floors, seeds=seeds)
        for size, one in way.saved.items():
            note = f"skill@1 after beginning from {way.home} minus from scratch, same steps and episodes; {over}"
            rows += as_row(f"{at}/saved/n={size}", one, "skill", note, {"scratch": 0.0}, seeds=seeds)
    return tuple(rows)
