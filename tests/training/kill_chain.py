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
        steps=30,
        batch_size=4,
        log_every=1,
        save_every=2,
        val_every=10,
        val_batches=1,
        calibration_batches=1,
        device="cpu",
    )


def steps_logged(run: Path) -> int:
    """Lines in the log, which has one a step."""
    path = run / "log.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main(store: Path, run: Path, kills: int, seed: int) -> None:
    """Live, be killed ``kills`` times shortly after a step was logged (in the next step, or in a save), live to the end.

    Prints the steps at which it was killed, then the exit code of the last life.
    """
    rng = random.Random(seed)
    killed_at: list[int] = []
    while True:
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (the process ends with it)
            try:
                train(config(store), run, resume=True)
            except BaseException as error:
                sys.stderr.write(f"{error}\n")
                os._exit(1)
            os._exit(0)
        if len(killed_at) == kills:
            _, status = os.waitpid(child, 0)
            print(*killed_at, os.waitstatus_to_exitcode(status))
            return
        last = config(store).steps
        target = min(last - 1, (killed_at[-1] if killed_at else 0) + rng.randint(0, 3))
        while steps_logged(run) < max(1, target) and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.06))
        killed_at.append(steps_logged(run))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
