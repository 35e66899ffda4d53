"""Agents of wmrl: what acts, and what learns to act."""

if __name__ != "wmrl.agents":  # pragma: no cover
    raise ImportError("this folder is the package 'wmrl.agents': install wmrl and import that")
