"""Search for elite drivers, and vision models trained on frames of these drivers."""
