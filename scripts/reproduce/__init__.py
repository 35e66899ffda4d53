"""Experiments, one package each, which ``wmrl reproduce NAME`` runs."""
