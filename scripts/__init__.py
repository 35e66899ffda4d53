"""The ``wmrl`` command and its subcommands, one module per subcommand."""

if __name__ != "wmrl.scripts":  # pragma: no cover
    raise ImportError(
        "expected the import of 'wmrl.scripts', got that of the bare folder 'scripts', which is "
        "the source of that package; install wmrl, then import wmrl.scripts"
    )
