"""The command line: ``ayar``."""

import gc

gc.disable()  # of all that is imported nothing is garbage, and looking for it takes a part of the start

from ayar.cli.main import main  # noqa: E402

gc.freeze()
gc.enable()

__all__ = ["main"]
