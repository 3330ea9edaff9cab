"""From nothing to a published-size model's results on one machine with a GPU: collect, convert, train, heads, evaluate.

    python scripts/paper_gpu.py --worlds push_t two_room so101/push --minutes 180

For each world it runs the commands that a user would type, and prints them. LeWorldModel at full size (preset `paper`,
224 px, 18 M parameters, batch 128, its learning rate and λ) is trained for about `--minutes`: the pace is measured first,
and as many steps are asked for as fit, so that the learning rate falls to zero within the time. A finished stage leaves a
marker with its command in `<output-dir>/<world>/done`; run again, the script skips it and goes on where it stopped, in
the middle of a collection, conversion or training too. Results: `results/paper_<world>.json`. `--smoke` does all that
with a small model, in seconds, on a CPU.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json, write_json
from jepaflow.common.results import Row, write_results
from jepaflow.training.log import read_log

ARM = "--loss.rollout 0.5 --loss.rollout-steps 2 --loss.inverse 0.2 --loss.grounding 0.5 --action-change --proprio"
RECIPES = {
    "two_room": {"protocol": "two_room_25", "collect": "", "train": ""},
    "push_t": {"protocol": "push_t_25", "collect": "", "train": ""},
    "so101/push": {
        "protocol": "so101/push_25",
        "collect": "--mix expert 0.5 play 0.25 babble 0.25",
        "train": f"{ARM} --cameras pixels phone",
    },
}
"""What differs between worlds. Two-Room and Push-T are trained as LeWorldModel was, the arm with what helped at 64 px."""
PLANNERS = {
    "inverse": "--solver.kind proposal --proposals inverse --solver.parameters full --solver.horizon 1",
    "cem": "--solver.kind cem --solver.samples 300 --solver.elites 30 --solver.iterations 30 --solver.horizon 5 "
    "--solver.parameters full --solver.init-std 1.0 --execute 5",
}
"""The inverse-dynamics head's first idea; and LeWorldModel's search, at its budget."""
MARGIN = 0.9
"""share of the time that the steps are meant to fill; the rest is for loading, health checks and saving"""


@dataclass(frozen=True)
class Args:
    """Collect, train, judge at 224 px; run it again to go on."""

    worlds: tuple[Literal["push_t", "two_room", "so101/push"], ...] = ("push_t",)
    """one after the other"""
    minutes: float = 180.0
    """of training in each world; if that does not suffice after all, run it again"""
    episodes: int = 2000
    """to collect in each world; 2,000 of Push-T or Two-Room are a store of 25 to 50 GB"""
    batch_size: int = 128
    """windows in an optimizer step"""
    accumulate: int = 1
    """micro-batches in an optimizer step, where a GPU's memory is too small for all at once"""
    workers: int = os.cpu_count() or 1
    """processes that collect"""
    seed: int = 0
    """of data and training"""
    device: str = "auto"
    """auto, cpu or cuda"""
    output_dir: Path = Path("runs/paper")
    """data, runs and markers"""
    results_dir: Path | None = None
    """of paper_<world>.json; results/, or --output-dir in a smoke test"""
    smoke: bool = False
    """few episodes of 64 px, the nano preset, a handful of steps: does everything fit together?"""


def quote(path: Path) -> str:
    """A path as a word of a command."""
    return shlex.quote(str(path))


@dataclass(frozen=True)
class World:
    """The stages of one world, in their folder."""

    args: Args
    env: str

    @property
    def name(self) -> str:
        """The world's name in file names."""
        return self.env.replace("/", "_")

    @property
    def folder(self) -> Path:
        """Where its data, run and markers are."""
        return self.args.output_dir / self.name

    @property
    def results(self) -> Path:
        """Its results."""
        default = self.args.output_dir if self.args.smoke else Path("results")
        return (self.args.results_dir or default) / f"paper_{self.name}.json"

    def call(self, words: str) -> float:
        """Print and run a sub-command with its options; returns the seconds, or ends the script with the command's error."""
        console.print(f"\n$ jepaflow {words}", markup=False)
        begin = time.monotonic()
        code = subprocess.run([sys.executable, "-m", "jepaflow.cli.main", *shlex.split(words)]).returncode
        if code:
            sys.exit(code)
        return round(time.monotonic() - begin, 1)

    def stage(
        self, name: str, words: str, now: str = "", made: Path | None = None, whole: Callable[[], bool] = lambda: True
    ) -> None:
        """Run a command unless its marker says that it was done.

        Args:
            name: of the marker.
            words: sub-command and options.
            now: options that may differ when the script is run again.
            made: what the command makes in one move and refuses to make twice, should it be killed before its marker is set.
            whole: whether it has come to its end.

        Raises:
            JepaflowError: the stage was done with other options, or needs more time.
        """
        marker = self.folder / "done" / f"{name}.json"
        if marker.is_file():
            if read_json(marker)["command"] != f"jepaflow {words}":
                raise JepaflowError(
                    f"{marker} was made with other options. Give those again, another --output-dir, or delete that "
                    "marker and those of the later stages to do them again."
                )
            console.print(f"{self.env}: {name} is done.")
            return
        seconds = 0.0 if made is not None and made.exists() else self.call(f"{words} {now}".strip())
        if not whole():
            raise JepaflowError(f"{self.env}: the time is up. Run the same command again to go on.")
        write_json(marker, {"command": f"jepaflow {words}", "seconds": seconds})

    def step(self) -> int:
        """The training's newest checkpoint's step."""
        last = self.folder / "run" / "checkpoints" / "last"
        return int(read_json(last / "training_state" / "training_step.json")["step"])

    def rates(self, run: str) -> tuple[np.ndarray, np.ndarray]:
        """Frames a second, and shares of waiting for data, of the second half of a run's log."""
        rows = [row for row in read_log(self.folder / run) if "frames_per_s" in row]
        rows = rows[len(rows) // 2 :]
        if not rows:
            raise JepaflowError(
                f"{self.folder / run} did not come to its first line of the log: this machine is too slow for so little time. "
                "Give more --minutes."
            )
        return np.array([row["frames_per_s"] for row in rows]), np.array([row["waiting_for_data"] for row in rows])

    def steps(self, training: str) -> int:
        """As many steps as fit into the time, by the pace of a short training, which is then removed."""
        minutes, pace = self.args.minutes, self.folder / "pace"
        plan = self.folder / "done" / "steps.json"
        if not plan.is_file():
            shutil.rmtree(pace, ignore_errors=True)
            short, every = (0.01, 1) if self.args.smoke else (min(3.0, max(0.5, minutes / 30)), 10)
            self.call(f"{training} --steps 1000000 --log-every {every} --output-dir {quote(pace)} --minutes {short:g}")
            rate, config = float(np.median(self.rates("pace")[0])), read_json(pace / "config.json")
            loss = config["loss"]
            frames = config["history"] + (loss["rollout_steps"] if loss["rollout"] else 1)
            steps = max(1, int(MARGIN * 60 * minutes * rate / (config["batch_size"] * frames)))
            write_json(plan, {"steps": min(steps, 3) if self.args.smoke else steps, "frames_per_s": rate})
            shutil.rmtree(pace)
        return int(read_json(plan)["steps"])

    def run(self) -> None:
        """All stages."""
        args, recipe, run = self.args, RECIPES[self.env], self.folder / "run"
        size, preset, episodes, batch, workers = 224, "paper", args.episodes, args.batch_size, args.workers
        heads, planners, trials = 3000, PLANNERS, ""
        if args.smoke:
            size, preset, episodes, batch, workers = 64, "nano", 6, 4, 1
            heads, planners, trials = 10, {"inverse": PLANNERS["inverse"]}, " --episodes 2 --seeds 1"
        dataset, store = self.folder / "dataset", self.folder / "store.h5"
        collect = (
            f"collect --env {self.env} --episodes {episodes} --image-size {size} --seed {args.seed} {recipe['collect']}"
        )
        self.stage("collect", f"{collect} --output-dir {quote(dataset)}", f"--workers {workers}")
        self.stage("convert", f"convert {quote(dataset)} {quote(store)} --image-size {size}", made=store)
        training = (
            f"train --dataset.path {quote(store)} --preset {preset} --batch-size {batch} --accumulate {args.accumulate} "
            f"--optim.lr 5e-5 --optim.warmup 0.01 --seed {args.seed} --device {args.device} {recipe['train']}"
        )
        steps = self.steps(training)
        every = max(1, min(steps, max(250, steps // 20)))
        self.stage(
            "train",
            f"{training} --steps {steps} --save-every {every} --val-every {every} --output-dir {quote(run)}",
            f"--resume --minutes {args.minutes:g}",
            whole=lambda: self.step() == steps,
        )
        made = f"--device {args.device} --json {quote(self.results)} --name paper/{self.env}"
        self.stage("heads", f"heads {quote(run)} --steps {heads} {made}")
        for planner, options in planners.items():
            judged = f"evaluate {quote(run)} --protocol {recipe['protocol']} {options}{trials}"
            self.stage(f"evaluate_{planner}", f"{judged} {made}/{planner} --keep")
        record = self.folder / "done" / "record.json"
        if not record.is_file():
            self.record(steps)
            write_json(record, {"results": str(self.results)})
        console.print(f"{self.env}: results in {self.results}.")

    def record(self, steps: int) -> None:
        """Add the training's speed to the results."""
        rates, waits = self.rates("run")
        seconds = read_json(self.folder / "done" / "train.json")["seconds"]
        config = read_json(self.folder / "run" / "config.json")
        note = (
            f"preset {config['preset']}, {steps} steps of {config['batch_size']} windows, {seconds / 60:.0f} min in the last "
            "call; median of the log's second half, low and high its min and max"
        )
        rows = [
            Row(
                f"paper/{self.env}/train/{what}",
                float(np.median(v)),
                float(v.min()),
                float(v.max()),
                len(v),
                1,
                unit,
                note=note,
            )
            for what, v, unit in (("frames_per_s", rates, "frames/s"), ("waiting_for_data", waits, "fraction"))
        ]
        write_results(self.results, shlex.join(["python", "scripts/paper_gpu.py", *sys.argv[1:]]), rows, keep=True)


def main(args: Args) -> int:
    """Run every world's stages; returns the exit code."""
    try:
        for env in args.worlds:
            World(args, env).run()
    except JepaflowError as error:
        sys.stderr.write(f"paper_gpu: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args)))
