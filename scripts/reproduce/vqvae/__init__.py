"""Experiment with VQ-VAEs of images, and with priors over their codes."""
