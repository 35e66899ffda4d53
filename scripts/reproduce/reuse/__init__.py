"""Encodings of elites reused for other problems of a planar arm."""
