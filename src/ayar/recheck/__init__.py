"""The later test of a winner: is it still best, and what has changed since."""
