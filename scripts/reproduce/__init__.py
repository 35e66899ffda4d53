"""Experiments of ``wmrl reproduce`` and ``wmrl compare-memories``, one package per experiment."""
