#!/usr/bin/env bash
# A graph of 4,096 landmarks with a larger flow network, on a GPU where there is one. What it needs: a run with heads.
#
#     scripts/large_graph.sh RUN [flags of jepaflow subgoals fit, which override those below]
#
# An interrupted fit goes on when the script is run again. Figures: results/large_graph.json.
set -euo pipefail
run=${1:?"usage: scripts/large_graph.sh RUN [flags of jepaflow subgoals fit]"}
jepaflow subgoals fit "$run" --device auto --landmarks.count 4096 --build.neighbours 24 --hidden 512 --depth 3 \
    --flow.steps 20000 --flow.goals 16 --flow.walks 128 "${@:2}"
jepaflow subgoals verify "$run" --json "${RESULTS:-results/large_graph.json}"
