"""Studies behind the claims: each module prints a table and writes JSON and a figure to `benchmarks/out`.

Run one from the root of the repository, for example `python -m benchmarks.accuracy`.
"""
