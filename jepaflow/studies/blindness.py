"""A post-mortem in the laboratory: models made blind on purpose, one cause each, and the symptoms that tell them apart.

Everybody who has a blind model suspects the same few causes. Here each is brought about alone, with the same steps and
frames seen, and judged as a user would judge it: on the run's own held-out episodes, which are as wrong as its training when
the data is wrong. Beside that stand fresh recordings, which no run has seen and nothing is wrong with.

Symptoms tell causes apart when a cause can be named from a run's symptoms alone. That is tested: each seed's runs are put to
the cause whose other seeds look most like them (symptoms scaled by what they vary between seeds and causes).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.common.intervals import wilson
from jepaflow.common.results import Row
from jepaflow.data.split import split_episodes
from jepaflow.data.store import Store
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.resample import Estimate
from jepaflow.studies.cells import Cell, Result, Study, with_steps
from jepaflow.studies.measures import Foretelling, Reading, Shape
from jepaflow.studies.readings import Readings, pool, pool_scalar
from jepaflow.studies.sight import Seeing, verdict_name
from jepaflow.studies.slices import in_pieces, mispaired
from jepaflow.training.config import TrainConfig

HEALTHY = "healthy"
FEW = 12
"""Episodes of the causes that want few."""
PIECE, STRIDE = 12, 2
"""Model steps of a piece, where episodes are cut, and from the beginning of one to that of the next."""
HORIZON = 10
LARGE = 30.0
"""Times the usual weight of SIGReg."""

CAUSES: Mapping[str, str] = {
    HEALTHY: "nothing wrong: all episodes, rollout loss over two steps",
    "few": f"{FEW} training episodes",
    "mispaired": "frames paired with another episode's actions",
    "leaky": f"{FEW} episodes cut into overlapping pieces, split over pieces: every held-out frame is trained on as well",
    "small_skip": "a model step of one control step: next to nothing happens in it",
    "large_lambda": f"SIGReg's weight {LARGE:g} times the usual",
    "one_step": "one-step loss, no rollout loss",
}


@dataclass(frozen=True)
class Symptom:
    """Something that the report shows of a run.

    Attributes:
        name: of the reading; ``@h`` for a ratio's horizon.
        words: in the table.
        minus: a reading that is subtracted (a gap).
    """

    name: str
    words: str
    minus: str = ""

    @property
    def key(self) -> str:
        """As rows name it."""
        return f"{self.name}-{self.minus}" if self.minus else self.name


SYMPTOMS = (
    Symptom("skill@1", "skill@1, own held-out"),
    Symptom("fresh_skill@1", "skill@1, fresh recordings"),
    Symptom("train_skill@1", "skill@1, episodes trained on"),
    Symptom("train_skill@1", "learnt by heart: trained − own held-out", "skill@1"),
    Symptom("skill@1", "flattered: own held-out − fresh", "fresh_skill@1"),
    Symptom("skill@10", "skill@10, own held-out"),
    Symptom("action_gain@1", "what the right actions add @1"),
    Symptom("motion", "motion in a model step"),
    Symptom("effective_rank", "effective rank"),
    Symptom("gaussian_distance", "distance from N(0, I)"),
    Symptom("joints_r2", "R² of the joints"),
)


def blindness_study(config: TrainConfig, seeds: int, folder: Path, causes: Sequence[str] = ()) -> Study:
    """One cell for each cause and seed, seed by seed.

    Args:
        config: of the healthy training.
        seeds: trainings of each.
        folder: where stores with something wrong go.
        causes: which; all when empty. The healthy one is always among them.

    Raises:
        JepaflowError: for an unknown cause or too few episodes.
    """
    if unknown := [name for name in causes if name not in CAUSES]:
        raise JepaflowError(f"There is no cause {unknown[0]!r}. Choose among {', '.join(CAUSES)}.")
    wanted = [name for name in CAUSES if not causes or name == HEALTHY or name in causes]
    made = _causes(config, folder, wanted)
    cells = [
        replace(made[name], config=replace(made[name].config, seed=seed))
        for seed in range(config.seed, config.seed + seeds)
        for name in wanted
    ]
    measures = (Foretelling(HORIZON, config.history), Shape(), Reading(), Seeing(HORIZON))
    return Study("blindness", tuple(cells), measures)


def _causes(config: TrainConfig, folder: Path, wanted: Sequence[str]) -> dict[str, Cell]:
    source, dataset = config.dataset.path[0], config.dataset
    store = Store(source)
    split = split_episodes(store.num_episodes, dataset.val_fraction, dataset.split_seed)
    if len(split.train) <= FEW:
        raise JepaflowError(f"{source} has {len(split.train)} training episodes; this study needs more than {FEW}.")
    fresh = (source, split.val)
    healthy = with_steps(replace(config, loss=replace(config.loss, rollout=0.5, rollout_steps=2)), config.steps)
    few = replace(dataset, episodes=FEW)
    changed = {HEALTHY: healthy, "few": replace(healthy, dataset=few)}
    if "mispaired" in wanted:
        wrong = mispaired(source, folder)
        changed["mispaired"] = replace(healthy, dataset=replace(dataset, path=(wrong,)))
    if "leaky" in wanted:
        chosen = split_episodes(store.num_episodes, dataset.val_fraction, dataset.split_seed, FEW).train
        pieces = in_pieces(source, folder, chosen, PIECE * config.block + 1, STRIDE * config.block)
        changed["leaky"] = replace(healthy, dataset=replace(dataset, path=(pieces,)))
    changed["small_skip"] = replace(healthy, block=1)
    changed["large_lambda"] = replace(healthy, loss=replace(healthy.loss, sigreg=LARGE * config.loss.sigreg))
    changed["one_step"] = one_step(healthy)
    return {name: Cell(name, changed[name], fresh=fresh) for name in wanted}


def one_step(healthy: TrainConfig) -> TrainConfig:
    """The training without its rollout loss, at as many frames in a step (SIGReg's weight keeps its meaning)."""
    loss = replace(healthy.loss, rollout=0.0, rollout_steps=1)
    plain = replace(healthy, loss=loss)
    batch = round(healthy.batch_size * healthy.frames / plain.frames)
    return replace(plain, batch_size=batch, loss=replace(loss, sigreg=loss.sigreg * healthy.batch_size / batch))


@dataclass(frozen=True)
class Ill:
    """One cause: symptoms of its seeds, what they come to, verdicts."""

    name: str
    seeds: Mapping[str, tuple[float, ...]]
    figures: Mapping[str, Estimate]
    verdicts: tuple[str, ...]
    skills: tuple[Estimate, ...]
    """own held-out skill at 1 … `HORIZON` model steps"""


@dataclass(frozen=True)
class Autopsy:
    """All causes, the healthy runs first, and how well symptoms name a cause."""

    ills: tuple[Ill, ...]
    symptoms: tuple[Symptom, ...]
    named: Mapping[str, tuple[str, ...]]
    """the cause that each seed's run was put to"""

    @property
    def healthy(self) -> Ill:
        """Nothing wrong."""
        return self.ills[0]

    def tells(self, ill: Ill) -> list[tuple[Symptom, float]]:
        """Symptoms by how far they lie from the healthy runs, in deviations between seeds (pooled over all causes)."""
        found = []
        for symptom in self.symptoms:
            if symptom.key in ill.figures and symptom.key in self.healthy.figures:
                away = ill.figures[symptom.key].value - self.healthy.figures[symptom.key].value
                found.append((symptom, away / self.noise(symptom)))
        return sorted(found, key=lambda one: -abs(one[1]))

    def noise(self, symptom: Symptom) -> float:
        """What a symptom varies between seeds of one cause."""
        each = [np.var(ill.seeds[symptom.key], ddof=1) for ill in self.ills if len(ill.seeds.get(symptom.key, ())) > 1]
        return max(float(np.sqrt(np.mean(each))) if each else 0.0, 1e-3)


def gather(results: Sequence[Result]) -> Autopsy:
    """Pool seeds of each cause, and try to name causes from symptoms."""
    runs: dict[str, list[Readings]] = {}
    for result in results:
        runs.setdefault(result.cell.name, []).append(result.readings)
    symptoms = tuple(s for s in SYMPTOMS if any(_has(s, one) for many in runs.values() for one in many))
    ills = tuple(_ill(name, runs[name], symptoms) for name in CAUSES if name in runs)
    return Autopsy(ills, symptoms, name_causes(ills, symptoms))


def _has(symptom: Symptom, one: Readings) -> bool:
    base = symptom.name.partition("@")[0]
    return base in one.ratios or base in one.scalars


def reading(one: Readings, name: str) -> float:
    """A run's figure, NaN where it has none."""
    base, _, step = name.partition("@")
    if base in one.ratios:
        values = one.ratios[base].values()
        return float(values[int(step or 1) - 1]) if int(step or 1) <= len(values) else float("nan")
    value = one.scalars.get(base)
    return float("nan") if value is None else value


def _ill(name: str, runs: Sequence[Readings], symptoms: Sequence[Symptom]) -> Ill:
    seeds, figures = {}, {}
    for symptom in symptoms:
        each = tuple(reading(r, symptom.name) - (reading(r, symptom.minus) if symptom.minus else 0.0) for r in runs)
        seeds[symptom.key] = each
        estimate = _estimate(symptom, runs, each)
        if estimate is not None:
            figures[symptom.key] = estimate
    verdicts = tuple(verdict_name(one.scalars["verdict"]) for one in runs)
    return Ill(name, seeds, figures, verdicts, tuple(pool([one.ratios["skill"] for one in runs])))


def _estimate(symptom: Symptom, runs: Sequence[Readings], each: Sequence[float]) -> Estimate | None:
    """With an interval over seeds and episodes where it is a single ratio, else the min and max of the seeds."""
    base, _, step = symptom.name.partition("@")
    if symptom.minus or base not in runs[0].ratios:
        return pool_scalar(each)
    estimates = pool([one.ratios[base] for one in runs])
    at = int(step or 1) - 1
    return estimates[at] if at < len(estimates) and np.isfinite(estimates[at].value) else None


def name_causes(ills: Sequence[Ill], symptoms: Sequence[Symptom]) -> dict[str, tuple[str, ...]]:
    """Put every run to the cause whose other runs look most like it.

    Symptoms are scaled by their spread over the runs that serve as examples; a run never serves as its own example.
    """
    keys = [s.key for s in symptoms if all(np.isfinite(ill.seeds[s.key]).all() for ill in ills)]
    table = {ill.name: np.array([ill.seeds[key] for key in keys]).T for ill in ills}
    return {ill.name: tuple(_name_one(table, ill.name, seed) for seed in range(len(table[ill.name]))) for ill in ills}


def _name_one(table: Mapping[str, Float[ndarray, "S K"]], name: str, seed: int) -> str:
    known = {other: np.delete(rows, seed, 0) if other == name else rows for other, rows in table.items()}
    if len(known[name]) == 0:
        return "–"
    scale = np.maximum(np.concatenate(list(known.values())).std(0), 1e-6)
    away = {other: float(np.square((table[name][seed] - rows.mean(0)) / scale).sum()) for other, rows in known.items()}
    return min(away, key=lambda other: away[other])


def blindness_rows(found: Autopsy, stem: str, seeds: int) -> tuple[Row, ...]:
    """Rows ``<stem>/<cause>/<symptom>`` and ``<stem>/named``."""
    rows: list[Row] = []
    for ill in found.ills:
        for symptom in found.symptoms:
            if symptom.key not in ill.figures:
                continue
            single = not symptom.minus and symptom.name.partition("@")[0] not in (
                "motion",
                "effective_rank",
                "gaussian_distance",
            )
            over = (
                "95 % interval over seeds and episodes" if single else "low and high are the min and max of the seeds"
            )
            healthy = (
                {HEALTHY: found.healthy.figures[symptom.key].value} if symptom.key in found.healthy.figures else {}
            )
            floors = {"nothing": 0.0} if single else {}
            note = f"{symptom.words}; {CAUSES[ill.name]}; {over}"
            rows += as_row(
                f"{stem}/{ill.name}/{symptom.key}", ill.figures[symptom.key], "", note, floors, healthy, seeds
            )
    right = [name == ill.name for ill in found.ills for name in found.named[ill.name]]
    note = (
        "share of runs whose cause is named rightly from their symptoms, each left out of the examples; floor: chance"
    )
    low, high = wilson(sum(right), len(right))
    rows.append(
        Row(
            f"{stem}/named",
            float(np.mean(right)),
            low,
            high,
            len(right),
            seeds,
            "fraction",
            {"chance": 1 / len(found.ills)},
            {},
            note,
        )
    )
    return tuple(rows)
