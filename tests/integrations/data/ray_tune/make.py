"""Write the result folder ``digits`` beside this file, where ``ray[tune]`` is installed: ``python make.py``.

Kept are the files that Ayar reads, with the machine's name, numbers of processes and folders taken out.
"""

import json
import math
import re
import shutil
import tempfile
from pathlib import Path

import ray
from ray import tune


def train(config):
    for step in range(1, 4):
        if config["optimizer"]["lr"] > 0.5 and step == 2:
            raise RuntimeError("out of patience")
        error = (math.log10(config["optimizer"]["lr"]) + 2) ** 2 / 10 + 1 / step / config["units"]
        tune.report({"valid_error": error, "train": {"loss": 2 * error}, "note": "text"})


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    space = {
        "optimizer": {"lr": tune.grid_search([0.001, 0.01, 0.9])},
        "units": tune.choice([8, 16]),
        "activation": "relu",
    }
    with tempfile.TemporaryDirectory() as place:
        run = tune.RunConfig(storage_path=place, name="digits", verbose=0)
        tune.Tuner(train, param_space=space, run_config=run).fit()
        target = Path(__file__).parent / "digits"
        shutil.rmtree(target, ignore_errors=True)
        for params in Path(place, "digits").glob("*/params.json"):
            kept = target / params.parent.name
            kept.mkdir(parents=True)
            shutil.copy(params, kept)
            rows = [json.loads(line) for line in (params.parent / "result.json").read_text().splitlines()]
            for row in rows:
                row |= {"hostname": "node", "node_ip": "192.0.2.1", "pid": 1}
            (kept / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
            if (params.parent / "error.txt").exists():
                text = (params.parent / "error.txt").read_text()
                text = re.sub(r"pid=\d+, ip=[\d.]+, actor_id=\w+", "pid=1, ip=192.0.2.1, actor_id=0", text)
                (kept / "error.txt").write_text(re.sub(r'File ".*?([^/]+\.py)"', r'File "\1"', text))
