"""A VAE for binary vectors with a full-covariance posterior."""
