"""The ``wmrl`` command and its subcommands, one module per subcommand."""

if __name__ != "wmrl.scripts":  # pragma: no cover
    raise ImportError(
        "this folder is the package 'wmrl.scripts': install wmrl, then import wmrl.scripts"
    )
