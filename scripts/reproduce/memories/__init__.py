"""Comparison of memory models trained on the same rollouts."""
