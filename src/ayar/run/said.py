"""What a training in a folder has said since it was started there: no measurement is lost between two starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


class Said:
    """A file with one line of JSON for each step that was said."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def beyond(self, step: int) -> list[tuple[int, dict[str, float]]]:
        """The later steps with their metrics; all others are forgotten."""
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else ():
            try:
                said = json.loads(line)
            except ValueError:  # the machine died in the midst of it
                break
            if said["step"] > step:
                kept.append((said["step"], said["metrics"]))
        if not kept:
            self._path.unlink(missing_ok=True)
        return kept

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keep a step; nothing where the folder was removed meanwhile."""
        if self._path.parent.is_dir():
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line((step, metrics)))


def _line(said: tuple[int, Mapping[str, float]]) -> str:
    step, metrics = said
    return json.dumps({"step": step, "metrics": dict(metrics)}) + "\n"
