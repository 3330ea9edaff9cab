"""The spellings found in the wild, brought to one form: names, shapes, roles, paths."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jepaflow.common.errors import JepaflowError

# The first key that is there plays the role.
ROLES: dict[str, tuple[str, ...]] = {
    "action": ("action", "actions"),
    "proprio": ("observation.state", "observation.states", "state", "states", "observation.qpos"),
    "environment": ("observation.environment_state", "environment_state", "env_state"),
}


def role_key(role: str, keys: Iterable[str]) -> str | None:
    """The key that plays ``role`` among ``keys``, or None."""
    present = set(keys)
    return next((key for key in ROLES[role] if key in present), None)


def flat_names(names: Any, size: int) -> tuple[str, ...]:
    """Names per dimension from a flat list, {"motors": [...]}, [[...]] or null; "dim_0", ... where they do not fit."""
    if isinstance(names, Mapping):
        nested = [value for value in names.values() if isinstance(value, list | tuple)]
        names = [item for value in nested for item in value] or list(names)
    while isinstance(names, list | tuple) and len(names) == 1 and isinstance(names[0], list | tuple):
        names = names[0]
    if isinstance(names, list | tuple) and len(names) == size and all(isinstance(name, str) for name in names):
        return tuple(names)
    return tuple(f"dim_{number}" for number in range(size))


def image_size(feature: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of a camera feature, whether its shape is written (H, W, C) or (C, H, W); 0, 0 if unclear."""
    shape = [int(side) for side in feature.get("shape") or ()]
    if len(shape) == 2:
        return shape[0], shape[1]
    if len(shape) != 3:
        return 0, 0
    names = feature.get("names")
    first_is_channel = isinstance(names, list) and bool(names) and str(names[0]).startswith("channel")
    if first_is_channel or (shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4)):
        return shape[1], shape[2]
    return shape[0], shape[1]


def fill_template(template: str, chunk: int, file: int, episode: int, key: str = "") -> str:
    """A path template of any version; v2 templates with ``{chunk_index}`` occur as well as the reverse.

    Raises:
        JepaflowError: when it has a placeholder that no version knows.
    """
    numbers = {"episode_chunk": chunk, "chunk_index": chunk, "file_index": file, "episode_index": episode}
    try:
        return template.format(**numbers, frame_index=0, video_key=key, image_key=key)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise JepaflowError(
            f"The path template {template!r} of meta/info.json cannot be filled ({error}). Correct it."
        ) from error


def existing(root: Path, relative: str) -> Path:
    """The file under ``root``, also looked for under the sister folder names ("video/" for "videos/", ...)."""
    path = root / relative
    if not path.exists():
        for ours, theirs in (("videos/", "video/"), ("images/", "image/")):
            if relative.startswith(ours) and (root / (theirs + relative[len(ours) :])).exists():
                return root / (theirs + relative[len(ours) :])
    return path
