#!/usr/bin/env bash
# A sentence becomes sub-goals and the arm does it, with the small checkpoint that lies here; then from an empty folder to a model that
# plans. The commands below are the ones that a user types. Interrupted, it goes on.
set -euo pipefail
out=${1:-demo}
begin=$SECONDS

step() {
    printf '\n\033[1m$ %s\033[0m\n' "$*"
    "$@"
}

say() {  # an impossible request ends with 1, as it should, and tells its story; anything else that ends so does not
    rm -f "$out/said/$1/story.json"
    step jepaflow command "$2" --env so101/place --seed "$3" --run checkpoints/so101_place --output "$out/said/$1" ||
        { [ $? -eq 1 ] && [ -f "$out/said/$1/story.json" ]; }
}

say 1 "put the green cube in the white bin" 0
say 2 "put the red cube in the blue bin, then the blue one in the white bin" 6  # the reader was never shown either pair
say 3 "put the blue cube in the white bin" 0  # there is none
python "$(dirname "$0")/said.py" "$out/said"
step jepaflow collect --env so101/pick_place --episodes 24 --workers 2 --output-dir "$out/pick_place" --seed 0
step jepaflow doctor "$out/pick_place"
step jepaflow view "$out/pick_place" --output "$out/pick_place.png" --mp4 "$out/pick_place.mp4"
step jepaflow collect --env two_room --episodes 300 --output-dir "$out/dataset" --seed 0
step jepaflow doctor "$out/dataset"
[ -e "$out/two_room.h5" ] || step jepaflow convert "$out/dataset" "$out/two_room.h5" --image-size 64
step jepaflow train --dataset.path "$out/two_room.h5" --preset nano --steps 800 --optim.lr 1e-3 --loss.sigreg 0.02 --output-dir "$out/run" --resume
step jepaflow diagnose "$out/run" --output-dir "$out/report" --json "$out/diagnosis.json"
step jepaflow evaluate "$out/run" --env two_room --episodes 100 --seed 1 --picture "$out/plans.png" --json "$out/success.json"
python "$(dirname "$0")/summary.py" "$out"
printf 'Done in %d min %d s.\n' $(((SECONDS - begin) / 60)) $(((SECONDS - begin) % 60))
