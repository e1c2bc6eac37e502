"""Write ``version_N.db`` beside this file, N being the schema version of the installed Ayar.

Run it once for every new version, before the release that brings it; the older files stay as they are.
"""

import math
from pathlib import Path

from ayar.ledger import Ledger
from ayar.ledger.schema import MIGRATIONS
from ayar.records import Measurement, Move
from ayar.seeds import Purpose

if __name__ == "__main__":
    with Ledger.open(Path(__file__).parent / f"version_{len(MIGRATIONS)}.db") as ledger:
        study = ledger.create_study("digits", {"minimize": "valid_error", "horizon": 3})
        for learning_rate, seed in ((0.1, 11), (10.0, 12), (0.001, 13)):
            config = {"learning_rate": learning_rate, "hidden_units": [32, 16]}
            trial = ledger.add_trial(study, config, seed, Purpose.SEARCH)
            ledger.add_move(study, Move(trial, config, seed, 0, 3))
        ledger.add_measurements(study, 0, [Measurement(n, 1 / n, 0.5, {"valid_error": 1 / n}) for n in (1, 2, 3)])
        ledger.end_move(study, 0, ended=True)
        ledger.add_measurements(study, 1, [Measurement(1, math.nan, 0.5, {"valid_error": math.inf})])
        ledger.end_move(study, 1, ended=False)
        ledger.end_move(study, 2, ended=False, error="RuntimeError: out of memory", waste_s=1.25)
        ledger.add_note(study, "winner", {"trial": 0})
