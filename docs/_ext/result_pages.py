"""Tables of results, for the pages of the experiments that made them."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "results"


def tables() -> dict[str, str]:
    """Returns the Markdown of each table without its title, by the name of the experiment."""
    found = {path.parent.name: path for path in sorted(FOLDER.glob("*/table.md"))}
    found["car-racing"] = FOLDER / "README.md"
    return {name: _without_title(path) for name, path in found.items()}


def _without_title(path: Path) -> str:
    text = path.read_text().partition("\n")[2].strip()
    folder = path.parent.relative_to(FOLDER)
    return re.sub(r"\]\((?!http)([^)]+)\)", rf"](results:{folder.as_posix()}/\1)", text) + "\n"


def with_site_links(source: str) -> str:
    """Replaces links from a page to files of the folder ``results`` by links into its copy.

    Images stay as they are: Sphinx finds and copies them.
    """
    return re.sub(r"(?<!!)(\[[^\]]*\])\((?:\.\./)+results/([^)]+)\)", r"\1(results:\2)", source)


def with_unbroken_cells(source: str) -> str:
    """Keeps the lines in cells of tables from ending before or after the sign ±."""
    return re.sub(
        r"^\|.*", lambda row: row[0].replace(" ± ", "\u00a0±\u00a0"), source, flags=re.MULTILINE
    )
