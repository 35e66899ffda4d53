"""The ``wmrl`` command and its subcommands, one module per subcommand."""

if __name__ != "wmrl.scripts":  # pragma: no cover
    raise ImportError(
        "scripts: expected to be imported as 'wmrl.scripts', got an import of its source folder "
        "'scripts'; install wmrl, then import wmrl.scripts"
    )
