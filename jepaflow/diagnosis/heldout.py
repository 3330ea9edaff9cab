"""Which episodes may judge a run? Only those that it never trained on, also when its data moved or was converted anew.

A renamed copy of the training data is the easiest way to flatter a model by mistake. So the episodes of a store given
by hand are compared with the training's by what they hold, a hash of their actions and states, and not by any name.
Where that cannot be decided, nothing is judged.
"""

from dataclasses import dataclass
from pathlib import Path

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.data.store import Store
from jepaflow.training.checkpoint import Run


@dataclass(frozen=True)
class HeldOut:
    """A store, its episodes that may judge the run, and why these."""

    store: Store
    episodes: tuple[int, ...]
    why: str


def held_out(run: Run, dataset: Path | None = None) -> HeldOut:
    """Choose the store and its held-out episodes.

    Args:
        run: the run to judge; of several stores the first is taken unless ``dataset`` names another.
        dataset: a store to use instead.

    Raises:
        JepaflowError: when the store is missing or none of its episodes was held out.
    """
    path = run.store_path if dataset is None else Path(dataset)
    if dataset is None and not path.is_file():
        raise JepaflowError(f"The run's store {path} is not there any more. Say where it lies with --dataset.path.")
    store = Store(path)
    split = read_json(run.path / "split.json")
    own = [Path(p) for p in run.config["dataset"]["path"]]
    result = _match(run, store, own, split)
    if not result.episodes:
        raise JepaflowError(
            f"No episode of {path} was held out from the training of {run.path}, so nothing can be judged on it. "
            "Train with a validation share, or name another store with --dataset.path."
        )
    return result


def _match(run: Run, store: Store, own: list[Path], split: dict[str, list[list[int]]]) -> HeldOut:
    for path, val in zip(own, split["val"]):
        if path.resolve() == store.path.resolve():
            return HeldOut(store, tuple(sorted(val)), "held out by the training's split")
    trained = _trained_on(run, own, split)
    prints = [store.fingerprint(episode) for episode in range(store.num_episodes)]
    episodes = tuple(e for e, mark in enumerate(prints) if mark not in trained)
    left_out = store.num_episodes - len(episodes)
    why = f"{left_out} episodes that were trained on are left out" if left_out else "none of them was trained on"
    return HeldOut(store, episodes, f"another store: {why}")


def _trained_on(run: Run, own: list[Path], split: dict[str, list[list[int]]]) -> set[str]:
    """Fingerprints of all training episodes, from the run's own record or, for want of it, from its stores."""
    record = run.path / "data.json"
    if record.is_file():
        return {mark for entry in read_json(record) for mark in entry["train"]}
    if missing := [path for path in own if not path.is_file()]:
        raise JepaflowError(
            f"{run.path} does not record what it trained on and its store {missing[0]} is gone, so no episode can be "
            "shown to be held out. Bring the store back, or train anew."
        )
    stores = [Store(path) for path in own]
    return {store.fingerprint(e) for store, episodes in zip(stores, split["train"]) for e in episodes}
