"""Minimizing KL between Gaussians: which estimators converge, and which can not."""
