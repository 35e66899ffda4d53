"""Experiment with a VAE of binary vectors that has a full-covariance posterior."""
