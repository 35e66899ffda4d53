"""Benchmarks, which ``python -m benchmarks`` runs; each writes its measurements to a JSON file."""
