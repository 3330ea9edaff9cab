"""Train a run that is killed (SIGKILL) at random moments, resumed each time, then finished. Prints the number of kills.

Forks after the imports, so that a life costs milliseconds; nothing has been computed before a fork.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from jepaflow.training.config import DatasetConfig, TrainConfig
from jepaflow.training.trainer import train


def config(store: Path) -> TrainConfig:
    """The run that both the test and its killed twin train."""
    return TrainConfig(
        dataset=DatasetConfig(path=(store,), val_fraction=0.25),
        steps=60,
        batch_size=4,
        log_every=1,
        save_every=3,
        val_every=10,
        val_batches=1,
        calibration_batches=1,
        device="cpu",
    )


def log_state(run: Path) -> tuple[int, int]:
    """Identity of the log file (a resumption writes it anew) and its lines, one a step; zeros without one."""
    path = run / "log.jsonl"
    try:
        return path.stat().st_ino, path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0, 0


def live(store: Path, run: Path) -> None:
    """Train to the end, in a child process that never returns."""
    torch.set_num_threads(1)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (the process ends with it)
    try:
        train(config(store), run, resume=True)
    except BaseException as error:
        sys.stderr.write(f"{error}\n")
        os._exit(1)
    os._exit(0)


def main(store: Path, run: Path, kills: int, seed: int) -> None:
    """Live, be killed at ``kills`` random steps (each drawn beforehand, a few milliseconds into it), live to the end.

    A kill counts only in a life that has opened the log, so none falls into the set-up. Prints the steps at which it
    was killed, then the exit code of the last life.
    """
    rng = random.Random(seed)
    killed_at: list[int] = []
    for target in [*sorted(rng.sample(range(1, config(store).steps - 4), kills)), None]:
        before, _ = log_state(run)
        child = os.fork()
        if child == 0:
            live(store, run)
        if target is None:
            _, status = os.waitpid(child, 0)
            print(*killed_at, os.waitstatus_to_exitcode(status))
            return
        deadline = time.monotonic() + 120
        while (state := log_state(run))[0] == before or state[1] < target:
            if time.monotonic() > deadline:
                sys.exit(f"step {target} was not reached in two minutes")
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        killed_at.append(log_state(run)[1])
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
