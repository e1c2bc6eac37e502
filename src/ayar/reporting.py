"""What a training script says to Ayar when it is run as a command.

It stands on the lowest floor and needs the standard library alone, so that a script can import it at no cost.
"""

from __future__ import annotations

import json
from typing import SupportsFloat


def report(*, step: int | None = None, **metrics: SupportsFloat) -> None:
    """Say what was measured: one line of JSON on standard output, which ``ayar tune ... -- COMMAND`` reads.

    Run by hand, the script prints the same lines. A script in another language prints them itself.

    Args:
        step: Units of training done so far, usually epochs; without it the reports count 1, 2, 3, ...
        metrics: Named numbers; the metric that the study is judged by must be among them.

    >>> report(step=3, valid_error=0.25)
    {"step": 3, "valid_error": 0.25}
    """
    numbers = {name: float(value) for name, value in metrics.items()}
    print(json.dumps(numbers if step is None else {"step": int(step), **numbers}), flush=True)
