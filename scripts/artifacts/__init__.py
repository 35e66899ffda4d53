"""Subcommands of ``wmrl artifacts``: trained models and agents, and their places on the hub."""
