"""Which episodes may judge a run? Only those that it never trained on, also when its data moved or was converted anew.

A renamed copy of the training data is the easiest way to flatter a model by mistake. So a store given by hand is
matched with the run's own by the episode numbers of their common source, and where the run's own store is gone and
cannot be compared, the split is applied as far as it fits.
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
    result = _match(store, own, split)
    if not result.episodes:
        raise JepaflowError(
            f"No episode of {path} was held out from the training of {run.path}, so nothing can be judged on it. "
            "Train with a validation share, or name another store with --dataset.path."
        )
    return result


def _match(store: Store, own: list[Path], split: dict[str, list[list[int]]]) -> HeldOut:
    for path, val in zip(own, split["val"]):
        if path.resolve() == store.path.resolve():
            return HeldOut(store, tuple(sorted(val)), "held out by the training's split")
    for index, path in enumerate(own):
        if path.is_file():
            original = Store(path)
            if original.meta.get("source") != store.meta.get("source"):
                continue
            judges = {original.source_episode(e) for e in split["val"][index]}
            episodes = tuple(e for e in range(store.num_episodes) if store.source_episode(e) in judges)
            return HeldOut(store, episodes, f"same source as {path.name}: held out by the training's split")
        highest = max([*split["train"][index], *split["val"][index]])
        if highest < store.num_episodes:
            episodes = tuple(sorted(split["val"][index]))
            return HeldOut(store, episodes, f"{path.name} is gone, this is taken for it: held out by its split")
    return HeldOut(store, tuple(range(store.num_episodes)), "a store that was not trained on: all episodes")
