"""Experiment that reuses encodings learned from elites for other problems of a planar arm."""
