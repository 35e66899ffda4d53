"""Gymnasium environments of wmrl, registered under ``vsg/`` when ``wmrl`` is imported."""

if __name__ != "wmrl.envs":  # pragma: no cover
    raise ImportError("this folder is the package 'wmrl.envs': install wmrl and import that")
