"""Speeds, measured side by side in one run and kept as JSON; see ``python -m benchmarks``."""
