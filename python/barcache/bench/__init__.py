"""The benchmark: what `barcache bench` measures, how, and what it says about it.

Nothing here is imported by the rest of the package before somebody asks for a measurement.
"""
