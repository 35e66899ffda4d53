"""Experiment on the alignment of code vectors in VQ-VAEs that are trained on elites."""
