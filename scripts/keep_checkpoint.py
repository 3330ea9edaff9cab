"""Keep a run's newest weights and heads under `checkpoints/`, small enough for the repository.

    python scripts/keep_checkpoint.py runs/push checkpoints/so101_push data/so101_push.h5 "what it is" COMMAND ...

The optimizer's state and older checkpoints are left behind; the store is named by where the commands put it.
"""

import json
import shutil
import sys
from pathlib import Path

LIMIT = 10_000_000


def main(run: Path, kept: Path, store: str, what: str, commands: list[str]) -> None:
    """Copy what using the run needs, replacing what was kept before."""
    newest = max(path for path in (run / "checkpoints").iterdir() if path.name.isdigit())
    if kept.exists():
        shutil.rmtree(kept)
    target = kept / "checkpoints" / newest.name
    shutil.copytree(newest / "pretrained_model", target / "pretrained_model")
    (target / "training_state").mkdir()
    shutil.copy(newest / "training_state" / "training_step.json", target / "training_state")
    for name in ("split.json", "heads.json", "heads.safetensors"):
        if (run / name).is_file():
            shutil.copy(run / name, kept)
    heads = kept / "heads.json"
    if heads.is_file():  # it remembers the folder where it was made
        made = json.loads(heads.read_text())
        made["command"] = next(command for command in commands if command.startswith("jepaflow heads"))
        heads.write_text(json.dumps(made, indent=2) + "\n")
    config = json.loads((run / "config.json").read_text())
    config["dataset"]["path"] = [store]
    (kept / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (kept / "made.json").write_text(json.dumps({"what": what, "commands": commands}, indent=2) + "\n")
    if large := [str(path) for path in kept.rglob("*.safetensors") if path.stat().st_size > LIMIT]:
        raise SystemExit(f"{large[0]} is larger than {LIMIT / 1e6:.0f} MB. Train a smaller preset.")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
