"""What a training in a folder has said since it was started there: no measurement is lost between two starts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ayar.checkpoints import AHEAD_FILE, replacing

Step = tuple[int, dict[str, float]]


class Said:
    """A file with one line of JSON for each step that was said. It is there once there is anything to go on from."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / AHEAD_FILE

    def begin(self, step: int) -> list[Step]:
        """The steps beyond ``step``, which is the last on record; all others are forgotten."""
        kept = [said for said in self._read() if said[0] > step]
        if any(self._path.parent.iterdir()):  # a fresh start finds an empty folder
            with replacing(self._path) as new:
                new.write_text("".join(map(_line, kept)), encoding="utf-8")
        return kept

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keep a step, whatever happens to the machine; nothing where the folder was removed meanwhile."""
        if self._path.parent.is_dir():
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line((step, metrics)))

    def add_rest(self, given: Iterable[Mapping[str, Any]]) -> None:
        """Keep what was said beyond the last step that is here; steps that are not named count on from it."""
        said = self._read()
        newest = said[-1][0] if said else 0
        for each in given:
            step = each.get("step", newest + 1)
            if isinstance(step, int | float) and step > newest:
                newest = int(step)
                self.add(newest, {name: value for name, value in each.items() if name != "step"})

    def _read(self) -> list[Step]:
        said = []
        for line in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else ():
            try:
                each = json.loads(line)
                said.append((each["step"], each["metrics"]))
            except (ValueError, KeyError):  # the machine died in the midst of it
                break
        return said


def _line(said: tuple[int, Mapping[str, float]]) -> str:
    step, metrics = said
    return json.dumps({"step": step, "metrics": dict(metrics)}) + "\n"
