"""The directions of codes that are learned from elites."""
