"""Elite drivers, and vision models trained on their frames."""
