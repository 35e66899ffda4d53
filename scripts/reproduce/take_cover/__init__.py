"""Take Cover as in World Models: an agent that is trained in the dream alone."""
