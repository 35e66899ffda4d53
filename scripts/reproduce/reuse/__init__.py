"""Experiment on encodings that are learned from elites of a planar arm, then reused."""
