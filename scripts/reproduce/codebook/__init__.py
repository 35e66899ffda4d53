"""Alignment of the codes that VQ-VAEs learn from elites."""
