"""Write offline runs beside this file, where ``wandb`` is installed: ``python make.py``. The third one fails."""

import shutil
from pathlib import Path

import wandb

HERE = Path(__file__).parent

if __name__ == "__main__":
    for number, (rate, steps) in enumerate([(0.1, 90), (0.01, 3), (1.0, 2)]):
        settings = wandb.Settings(mode="offline", x_disable_meta=True, x_disable_stats=True, console="off", silent=True)
        config = {"lr": rate, "net": {"units": 8 * (number + 1)}}
        run = wandb.init(dir=HERE, project="digits", id=f"digits{number}", config=config, settings=settings)
        for step in range(steps):
            run.log({"valid_error": 0.5 / (step + 1) + rate, "train": {"loss": 1 / (step + 1)}, "note": "text"})
        run.finish(exit_code=1 if rate == 1.0 else 0)
    wandb.teardown()  # until then not all of it is on disk
    shutil.rmtree(HERE / "runs", ignore_errors=True)
    for file in (HERE / "wandb").glob("offline-run-*/*.wandb"):
        kept = HERE / "runs" / f"offline-{file.stem}"
        kept.mkdir(parents=True)
        shutil.copy(file, kept)
    shutil.rmtree(HERE / "wandb")
