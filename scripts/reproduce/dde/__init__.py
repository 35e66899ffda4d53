"""Data-Driven Encodings beside other MAP-Elites, on planar arms."""
