"""Comparison of Data-Driven Encodings with other searches, on planar arms."""
