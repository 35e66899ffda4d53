"""The readme as package indexes show it; all other metadata is in ``pyproject.toml``.

An index shows the readme without the files to which it links. Its relative links therefore lead to
the address ``Source`` in ``[project.urls]``. Without this address they become plain text, and
images are left out with their captions.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
_RELATIVE = r"\((?!https?://|#)([^)\s]+)\)"  # target of a link or of an image


def index_readme(readme: str, source: str | None) -> str:
    """Returns a readme whose links do not depend on files beside it.

    Args:
        readme: Markdown with links to files of the repository.
        source: address of the repository, on a host with the paths of GitHub; None if it is not
            public.
    """
    if source is None:
        readme = re.sub(rf"!\[[^]]*\]{_RELATIVE}\n\n(?:\*[^*]+\*\n\n)?", "", readme)
        return re.sub(rf"\[([^]]*)\]{_RELATIVE}", r"\1", readme)
    address = source.rstrip("/")
    readme = re.sub(rf"(!\[[^]]*\]){_RELATIVE}", rf"\1({address}/raw/HEAD/\2)", readme)
    return re.sub(rf"(?<!!)(\[[^]]*\]){_RELATIVE}", rf"\1({address}/blob/HEAD/\2)", readme)


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    setup(
        long_description=index_readme(readme, project.get("urls", {}).get("Source")),
        long_description_content_type="text/markdown",
    )
