"""Pages in Markdown: their blocks, and the commands of their scripts."""

import os
import re
import subprocess
from pathlib import Path


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each block of a page, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page, re.S | re.M)


def commands(script: str, folder: Path) -> list[list[str]]:
    """Words of each command that a shell script would run, which are only written down."""
    log = folder / "log"
    log.touch()
    for name in ("wmrl", "python", "make", "pip", "cp"):
        stand_in = folder / name
        stand_in.write_text(
            f"#!/bin/sh\nprintf '%s\\037' {name} \"$@\" >>'{log}'\necho >>'{log}'\n"
        )
        stand_in.chmod(0o755)
    path = f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"
    subprocess.run(
        ["bash", "-eu", "-c", script], check=True, cwd=folder, env={"PATH": path}, timeout=60
    )
    return [line.split("\x1f")[:-1] for line in log.read_text().splitlines()]
