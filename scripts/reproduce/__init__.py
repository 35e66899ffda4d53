"""Experiments, a package each, run by ``wmrl reproduce NAME``."""
