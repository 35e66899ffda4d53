"""Scripts that score agents and write the artifacts that are shipped with the package."""
