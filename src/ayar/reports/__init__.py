"""Showing a study: rows, figures, one page, plain text."""
