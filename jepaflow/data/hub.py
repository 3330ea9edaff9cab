"""From what a user types to an open dataset: a LeRobot folder, a folder of videos, or a hub id."""

import re
from pathlib import Path

from jepaflow.common.errors import JepaflowError
from jepaflow.data.lerobot import LeRobotDataset
from jepaflow.data.types import Dataset
from jepaflow.data.videofolder import VideoFolder, video_files

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def fetch(repo_id: str) -> Path:
    """Download a dataset repository of the Hugging Face hub (cached); returns its folder.

    Raises:
        JepaflowError: when huggingface_hub is not installed, the hub cannot be reached or has no such dataset.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise JepaflowError(
            f"{repo_id} is no local folder, and fetching it needs the hub extra: pip install 'jepaflow[hub]'."
        ) from error
    try:
        return Path(huggingface_hub.snapshot_download(repo_id, repo_type="dataset"))
    except Exception as error:  # the client raises many kinds, of its own and of its HTTP library
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise JepaflowError(
            f"{repo_id} is no local folder and cannot be fetched from the hub ({reason[:200]}). "
            "Check the spelling and the network, or download it elsewhere and give its folder."
        ) from error


def open_dataset(root: Path | str) -> Dataset:
    """Open a LeRobot dataset (v2.0, v2.1, v3.0), a folder of videos, a single video, or a hub id ``owner/name``.

    Raises:
        JepaflowError: when there is nothing that can be read, saying what was found instead.
    """
    path = Path(root).expanduser()
    if not path.exists():
        if _HUB_ID.fullmatch(str(root)):
            path = fetch(str(root))
        else:
            raise JepaflowError(f"{root} does not exist. Give a dataset folder or a hub id such as owner/name.")
    if path.is_file():
        if path.suffix in (".h5", ".hdf5"):
            raise JepaflowError(f"{path} is a store already. Train on it with: jepaflow train --dataset.path {path}")
        if not video_files(path):
            raise JepaflowError(f"{path} is no dataset folder and no video. Give a folder.")
        return VideoFolder(path)
    if (path / "meta" / "info.json").exists():
        return _open_lerobot(path)
    if (path / ".staging").exists():
        raise JepaflowError(f"{path} is an unfinished recording. Resume it, so that its last files are written.")
    if (path / "meta_data").exists():
        raise JepaflowError(f"{path} is a LeRobot v1 dataset. Convert it to v2.1 or v3.0 with LeRobot's own tools.")
    if (path / "meta").exists() or (path / "data").exists():
        raise JepaflowError(
            f"{path} has no meta/info.json. Restore it: nothing else tells the frame rate and features."
        )
    if not video_files(path):
        raise JepaflowError(f"{path} holds neither a LeRobot dataset nor videos. Check the path.")
    return VideoFolder(path)


def _open_lerobot(path: Path) -> LeRobotDataset:
    try:
        return LeRobotDataset(path)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        # Metadata can be malformed in more ways than were thought of; what the user gets is a sentence all the same.
        reason = f"{type(error).__name__}: {error}"[:200]
        raise JepaflowError(f"{path / 'meta'} cannot be understood ({reason}). Restore its files.") from error
