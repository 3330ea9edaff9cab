"""Does a store suit a run? Frames and columns of the training's shape, fitted and timed by the training's rules."""

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.data.store import Store
from jepaflow.training.checkpoint import Run
from jepaflow.worldmodel.jepa import JEPAConfig


def check_fit(store: Store, config: JEPAConfig) -> None:
    """Refuse a store whose frames or columns are not of the shape that the model was trained on."""
    wanted = {"image size": (store.image_size, config.image_size), "action": (store.dim("action"), config.action_dim)}
    if config.proprio_dim:
        wanted["proprio"] = (store.dim("proprio"), config.proprio_dim)
    for name, (found, needed) in wanted.items():
        if found != needed:
            raise JepaflowError(
                f"{store.path} has {name} {found} but the model was trained with {needed}. "
                "Convert the dataset with the options of the training store."
            )


def check_rules(store: Store, run: Run) -> None:
    """Refuse frames fitted or timed otherwise than in training: they would make any model look blind."""
    record = run.path / "data.json"
    if not record.is_file():
        return
    trained = read_json(record)[0]
    for name, found in (("image_fit", store.meta.get("image_fit")), ("fps", store.fps)):
        if found != trained[name]:
            raise JepaflowError(
                f"{store.path} has {name} {found} but the model was trained with {trained[name]}. "
                "Convert the dataset with the options of the training store."
            )
