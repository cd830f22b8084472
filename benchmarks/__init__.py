"""How fast, how big and how even is hashring?  One file per property; ``python -m benchmarks``.

To add a benchmark, add a file with a function ``run(quick) -> Iterator[Table]``: its name is what
the command line takes, and one that ends in ``_long`` runs only when it is asked for. Numbers stand
beside their targets; a missed one is said, and is no error, for machines are noisy.
"""
