"""The published studies by name: from what a user asks for to cells, measures and a way to tell what they come to."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, write_json
from jepaflow.data.split import split_episodes
from jepaflow.data.store import Store
from jepaflow.studies import arms as between
from jepaflow.studies import blindness as blind
from jepaflow.studies import density_plan
from jepaflow.studies import films as foreign
from jepaflow.studies import looks as look
from jepaflow.studies import views as seen
from jepaflow.studies.arms_page import arms_outcome
from jepaflow.studies.blindness_page import blindness_outcome
from jepaflow.studies.campaign import Design
from jepaflow.studies.cells import Measure, Result
from jepaflow.studies.density import density_study, gather, measures_of
from jepaflow.studies.density_page import density_outcome
from jepaflow.studies.density_plan import Plan
from jepaflow.studies.films_page import films_outcome
from jepaflow.studies.looks_page import looks_outcome
from jepaflow.studies.marks import store_mark
from jepaflow.studies.outcome import Outcome
from jepaflow.studies.recipe import collected
from jepaflow.studies.success import Success, tell_success
from jepaflow.studies.views_page import views_outcome
from jepaflow.training.config import TrainConfig

SIZES = 5


def held_out_count(config: TrainConfig) -> int:
    """Episodes of the first store that judge."""
    store, dataset = Store(config.dataset.path[0]), config.dataset
    return len(split_episodes(store.num_episodes, dataset.val_fraction, dataset.split_seed).val)


def density(
    config: TrainConfig,
    seeds: int,
    sizes: Sequence[int],
    budget: str | None,
    runs: Path,
    success: tuple[str, int] | None = None,
) -> Design:
    """How many episodes?

    Args:
        config: of the training; its steps are those of every size, unless there is a budget.
        seeds: trainings of each setting.
        sizes: numbers of training episodes; empty: five from 5 to all.
        budget: a duration; sizes and steps are chosen for it, once: the choice is kept beside the runs.
        runs: folder of the runs.
        success: a protocol and how many of its trials are planned by every model.

    Raises:
        JepaflowError: when there are too few episodes, or too little time.
    """
    windows = density_plan.training_episodes(config)
    extra = _reaching(config, success)
    if budget is None:
        chosen = tuple(sorted(set(sizes))) or density_plan.choose_sizes(windows, SIZES, config.batch_size)
        if chosen[-1] > len(windows):
            raise JepaflowError(f"--sizes asks for {chosen[-1]} training episodes; there are {len(windows)}.")
        plan = Plan(chosen, config.steps, seeds)
    elif sizes or config.steps != TrainConfig().steps:
        raise JepaflowError("--budget chooses sizes and steps. Leave --sizes and --steps out, or --budget.")
    else:
        plan = _budgeted(config, windows, seeds, density_plan.parse_minutes(budget), runs / "plan.json", extra)
    store = Store(config.dataset.path[0])

    def tell(results: Sequence[Result]) -> Outcome:
        found = gather(results, plan)
        step, most = config.block / store.fps, windows[plan.sizes[-1] - 1]
        told = density_outcome(found, config, store.path.stem, step, held_out_count(config), most)
        return tell_success(told, success)

    return Design(density_study(config, plan, windows, extra), tell)


def _reaching(config: TrainConfig, success: tuple[str, int] | None) -> tuple[Success, ...]:
    """The measure of success on a protocol's first trials, fit for what is trained on; none where none is asked for."""
    if success is None:
        return ()
    measure = Success(*success)
    measure.check(Store(config.dataset.path[0]))
    return (measure,)


def _budgeted(
    config: TrainConfig, windows: tuple[int, ...], seeds: int, budget: float, path: Path, extra: tuple[Measure, ...]
) -> Plan:
    """The plan for a budget: the one that is kept for just this question, or a new one, after a calibration."""
    asked = [
        store_mark(config.dataset.path[0]),
        repr(replace(config, device="auto")),
        seeds,
        budget,
        [one.name for one in extra],
    ]
    if path.is_file() and (kept := read_json(path))["asked"] == asked:
        return Plan(tuple(kept["plan"]["sizes"]), kept["plan"]["steps"], kept["plan"]["seeds"])
    pace = density_plan.measure_pace(config, measures_of(config, extra))
    plan = density_plan.fit_plan(windows, config.batch_size, pace, budget, seeds)
    minutes = density_plan.seconds_of(plan, windows, pace) / 60
    console.print(
        f"{len(plan.sizes)} sizes ({', '.join(map(str, plan.sizes))}), {seeds} seeds, {plan.steps} steps: about {minutes:.0f} min."
    )
    write_json(path, {"asked": asked, "plan": asdict(plan)})
    return plan


def blindness(config: TrainConfig, seeds: int, causes: Sequence[str], runs: Path) -> Design:
    """Which symptom gives which cause away?

    Args:
        config: of the healthy training, but for its loss.
        seeds: trainings of each cause.
        causes: which; all when empty.
        runs: folder of the runs; stores with something wrong lie beside them.

    Raises:
        JepaflowError: as `blindness_study`.
    """
    study = blind.blindness_study(config, seeds, runs / "stores", causes)
    store = Store(config.dataset.path[0])

    def tell(results: Sequence[Result]) -> Outcome:
        found = blind.gather(results)
        step = config.block / store.fps
        return blindness_outcome(found, config, store.path.stem, step, held_out_count(config), seeds)

    return Design(study, tell)


def views(config: TrainConfig, seeds: int, success: tuple[str, int] | None = None) -> Design:
    """One camera or two?

    Args:
        config: of the training; its cameras are compared.
        seeds: trainings of each setting.
        success: a protocol and how many of its trials are planned by every model.

    Raises:
        JepaflowError: as `views_study`.
    """
    store = Store(config.dataset.path[0])

    def tell(results: Sequence[Result]) -> Outcome:
        found = seen.gather(results, config.cameras)
        return tell_success(views_outcome(found, config, store, held_out_count(config), seeds), success)

    return Design(seen.views_study(config, seeds, _reaching(config, success)), tell)


def arms(config: TrainConfig, seeds: int, sizes: Sequence[int], runs: Path) -> Design:
    """What does a model of one arm save on another?

    Args:
        config: of the training, with two stores.
        seeds: trainings of each setting.
        sizes: episodes of the other arm.
        runs: folder of the runs; stores in the common form lie beside them.

    Raises:
        JepaflowError: as `find_arms`.
    """
    both = between.find_arms(config, runs / "stores")

    def tell(results: Sequence[Result]) -> Outcome:
        steps = [config.block / Store(arm.store).fps for arm in both]
        return arms_outcome(between.gather(results, both, sizes), config, both, steps, seeds)

    return Design(between.arms_study(config, both, seeds, sizes), tell)


def films(
    config: TrainConfig,
    seeds: int,
    path: Path,
    shares: Sequence[float],
    runs: Path,
    success: tuple[str, int] | None = None,
) -> Design:
    """What do films without a robot do to a model?

    Args:
        config: of the training, with the robot's store.
        seeds: trainings of each setting.
        path: a store of films.
        shares: of the training windows that are films'.
        runs: folder of the runs; stores of mixed-in films lie beside them.
        success: a protocol and how many of its trials are planned by every model.

    Raises:
        JepaflowError: as `films_study`.
    """
    study = foreign.films_study(config, path, shares, seeds, runs / "stores", _reaching(config, success))
    store = Store(config.dataset.path[0])

    def tell(results: Sequence[Result]) -> Outcome:
        step = config.block / store.fps
        told = films_outcome(
            foreign.gather(results), config, store.path.stem, path.stem, step, held_out_count(config), seeds
        )
        return tell_success(told, success)

    return Design(study, tell)


def looks(config: TrainConfig, seeds: int, stores: Sequence[Path], success: tuple[str, int] | None = None) -> Design:
    """What does another look of the same world cost?

    Args:
        config: of the training, in the usual look.
        seeds: trainings.
        stores: recordings of the same motions, the usual look first.
        success: a protocol and how many of its trials are planned by every model in every look.

    Raises:
        JepaflowError: as `looks_study` and `SuccessInLooks`; nothing says what was changed in a look's store.
    """
    extra: tuple[Measure, ...] = ()
    for plain in _reaching(config, success):
        in_looks = tuple((path.stem, look.fixed(path, plain.protocol)) for path in stores)
        extra = (look.SuccessInLooks(plain, in_looks),)
    study, store = look.looks_study(config, stores, seeds, extra), Store(config.dataset.path[0])

    def tell(results: Sequence[Result]) -> Outcome:
        told = {path.stem: ", ".join(collected(path).get("fix", [])) for path in stores}
        episodes = Store(stores[0]).num_episodes
        step = config.block / store.fps
        found, record = look.gather(results), collected(store.path)
        return tell_success(looks_outcome(found, told, record, config, store.path.stem, step, episodes), success)

    return Design(study, tell)
