"""Tune the built-in L-layer net on real digits, and look at the parameters that the winner decides.

python examples/deep_net.py [TRIALS]
"""

import sys

import ayar

task = ayar.load_task("digits")
recipe = ayar.deep_net(task.data)
space = ayar.default_space(task.data)

with ayar.Study("net.db", space=space, minimize="valid_error", seed=0) as study:
    winner = study.tune(recipe, trials=int(sys.argv[1]) if len(sys.argv) > 1 else 20, workers=2)
    print("winner:", winner.config)
    for kind, score in winner.scores.items():
        print(f"{kind}: {score.mean:.4f}, 95 % interval {score.low:.4f} to {score.high:.4f}")
    study.report("net.html")
    print("the report is net.html")
