"""Benchmarks of barcache beside its peers: `python -m benchmarks.run`."""
