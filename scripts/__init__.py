"""The ``wmrl`` command and its subcommands, one module per subcommand."""

if __name__ != "wmrl.scripts":  # pragma: no cover
    raise ImportError(
        "scripts: expected an import as 'wmrl.scripts', got an import of the source folder "
        "'scripts' itself; install wmrl, then import wmrl.scripts"
    )
