"""What `jepaflow benchmark` runs: each sub-command's rows, and the file that they are kept in."""

import shlex
import sys

from benchmarks.speed_data import convert_rows, load_rows
from benchmarks.speed_plan import plan_rows
from benchmarks.speed_train import train_rows
from benchmarks.subgoals_speed import subgoals_rows
from benchmarks.weight import weight_rows
from jepaflow.cli.benchmark import Convert, Load, Plan, Subgoals, Train, Weight
from jepaflow.common.results import Row, write_results


def measured(args: Plan | Train | Load | Convert | Weight | Subgoals) -> list[Row]:
    """Measure what a sub-command asks for."""
    match args:
        case Plan():
            return plan_rows(args)
        case Train():
            return train_rows(args)
        case Load():
            return load_rows(args)
        case Convert():
            return convert_rows(args)
        case Weight():
            return weight_rows(args)
        case Subgoals():
            return subgoals_rows(args)


def run(args: Plan | Train | Load | Convert | Weight | Subgoals) -> None:
    """Measure, and write the rows where they are wanted."""
    rows = measured(args)
    if args.json is not None:
        write_results(args.json, shlex.join(["jepaflow", *sys.argv[1:]]), rows, keep=True)
