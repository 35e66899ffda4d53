"""Gradient descent on KL(q‖p) of two normal distributions, with several gradient estimators."""
