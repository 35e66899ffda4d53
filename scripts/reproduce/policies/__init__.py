"""Comparison of CMA-ES, variational search and PPO in the same dream."""
