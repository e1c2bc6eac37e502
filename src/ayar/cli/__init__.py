"""The command line: ``ayar``."""

from ayar.cli.main import main

__all__ = ["main"]
