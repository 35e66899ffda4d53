"""Scripts that train and ship the artifacts which come with the package."""
