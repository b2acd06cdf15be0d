"""Benchmarks of this registry beside docker-registry, on the same S3 and in one run: `python -m bench`.

Each part is a module with `measure(stage, ...) -> Table`; `__main__` says which parts there are and how large.
"""
