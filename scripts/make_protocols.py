"""Draw the named protocols' trials anew: `python scripts/make_protocols.py [NAME ...]`. Needed when a world changes."""

import sys

from jepaflow.common.console import console
from jepaflow.evaluation.named import PROTOCOLS, draw_protocol, protocol_file

for name in sys.argv[1:] or PROTOCOLS:
    trials = draw_protocol(name)
    trials.save(protocol_file(name))
    console.print(
        f"{name}: {len(trials)} trials of {len(set(trials.episode.tolist()))} episodes, {trials.excluded} excluded"
    )
