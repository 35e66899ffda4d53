"""Pages in Markdown: their blocks, the commands of their scripts, and their links.

One rule makes blocks short enough for a test: an option ``--name N``, or an argument or variable
``name=N``, whose name is in :data:`AMOUNTS` gets the amount that stands there. All else is as on
the page. An evaluation without a number of episodes gets one, too, and curves are those of one
column, because each takes a second to draw.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_GENERATED = ("_build", "_ext", "_generated", "_static")
DOCS = [
    path
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if not {*path.relative_to(ROOT / "docs").parts} & {*_GENERATED}
]
"""Pages of the documentation, without those that a build generates."""

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))

AMOUNTS: dict[str, float] = {
    "agent-steps": 20,
    "episodes": 2,
    "frames": 120,
    "generations": 2,
    "minutes": 0.01,
    "real-frames": 240,
    "steps": 2,
    "total_timesteps": 1024,
    "warmup_steps": 1,
}


def markdown(page: Path) -> str:
    """Text of a page; that of a notebook has its code as blocks of Python."""
    if page.suffix != ".ipynb":
        return page.read_text()
    return "\n\n".join(
        text if kind == "markdown" else f"```python\n{text}\n```"
        for kind, text in notebook_cells(page)
    )


def notebook_cells(page: Path) -> list[tuple[str, str]]:
    """Type and text of each cell of a notebook, in order."""
    cells = json.loads(page.read_text())["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each block of a page, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page, re.S | re.M)


def prose(page: str) -> str:
    """A page without its blocks and without code in its lines."""
    return re.sub(r"`[^`\n]*`", "``", re.sub(r"^```.*?^```", "", page, flags=re.S | re.M))


def python_blocks(page: str) -> Iterator[tuple[str, str | None]]:
    """Python blocks of a page, each with what it prints if a block of text below says so."""
    found = blocks(page)
    for (language, code), below in zip(found, [*found[1:], ("", "")], strict=True):
        if language == "python":
            yield code, below[1] if below[0] == "text" else None


def shortened(words: list[str]) -> list[str]:
    """The words of a command, with the amounts of the tests."""
    words = list(words)
    for place, word in enumerate(words[:-1]):
        amount = AMOUNTS.get(word.removeprefix("--")) if word.startswith("--") else None
        if amount is not None:
            assert float(words[place + 1]) >= amount, f"{words}: amounts are only lowered"
            words[place + 1] = str(amount)
    if words[0] == "curves" and "--columns" not in words:
        words += ["--columns", "train/loss"]
    if words[0] == "evaluate" and "--episodes" not in words:
        words += ["--episodes", str(AMOUNTS["episodes"])]
    return words


def shortened_python(code: str) -> str:
    """Python code with the amounts of the tests."""
    names = "|".join(AMOUNTS)
    return re.sub(
        rf"\b({names})( ?= ?)[\d_]+", lambda found: f"{found[1]}{found[2]}{AMOUNTS[found[1]]}", code
    )


def commands(script: str, folder: Path) -> list[list[str]]:
    """Words of each command that a shell script would run, which are only written down."""
    log = folder / "log"
    log.touch()
    for name in ("wmrl", "python", "make", "pip", "cp", "tensorboard"):
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


def links(page: Path) -> list[tuple[Path, str]]:
    """Files and anchors to which a page links, also by images; web addresses are left out."""
    found = re.findall(r"\]\((?!\w+:)([^)\s]*)\)", prose(markdown(page)))
    parts = [target.partition("#") for target in found]
    return [(page.parent / path if path else page, anchor) for path, _, anchor in parts]


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page."""
    headings = re.findall(
        r"^#+ (.*)", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M), re.M
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
