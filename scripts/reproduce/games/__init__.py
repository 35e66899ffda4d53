"""Training loop with default settings in several games, compared with random play and PPO."""
