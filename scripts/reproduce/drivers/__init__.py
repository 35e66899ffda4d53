"""Elites that drive, and vision models trained on their frames."""
