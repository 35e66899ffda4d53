"""CMA-ES, variational search and PPO in one dream."""
