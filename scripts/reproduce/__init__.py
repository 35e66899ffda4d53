"""Experiments: one folder each, run by ``wmrl reproduce NAME``."""
