"""Deep nets: their data, their parameters and their training. The only room that imports torch."""
