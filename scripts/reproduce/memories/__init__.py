"""Memory models compared on the same rollouts."""
