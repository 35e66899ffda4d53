"""Scripts that train, score and publish the artifacts shipped with the package."""
