"""Elites that drive, and a vision model trained on what they see."""
