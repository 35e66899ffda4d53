"""Downloads a repository of the Hugging Face hub to a folder, with its artifacts verified.

To use a repository, no folder is needed: commands take hf://user/name wherever they take the path
of an artifact. The command needs a package: pip install "wmrl[hub]".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl artifacts pull``."""

    repository: tyro.conf.Positional[str]
    """Repository: user/name, or hf://user/name@revision for a branch, a tag or a commit."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder to write, which must be empty or not exist."""


def main(args: Args) -> None:
    """Writes the folder and prints the paths of the artifacts in it."""
    from wmrl.export.hub import save_pretrained
    from wmrl.storage.hub import SCHEME, is_hub_reference
    from wmrl.storage.recognition import artifacts_below

    hub = is_hub_reference(args.repository)
    save_pretrained(args.repository if hub else f"{SCHEME}{args.repository}", args.out)
    for path in artifacts_below(args.out):
        print(path)
