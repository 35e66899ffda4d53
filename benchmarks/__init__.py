"""Benchmarks, run by ``python -m benchmarks``. Each writes its measurements to a JSON file."""
