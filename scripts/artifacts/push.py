"""Uploads an artifact to a repository of the Hugging Face hub, with a model card.

The repository of an agent also contains the agent's world model. Log in beforehand with
hf auth login. The command needs a package: pip install "wmrl[hub]".
"""

from dataclasses import dataclass

import tyro


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl artifacts push``."""

    artifact: tyro.conf.Positional[str]
    """Artifact to upload: a shipped name, a path, or hf://user/name."""
    repository: tyro.conf.Positional[str]
    """Repository, as user/name; it is created if it does not exist."""
    private: bool = False
    """Create a private repository. A repository that exists keeps its visibility."""
    license: str | None = None
    """License for the model card, such as mit, by its identifier on the hub."""
    message: str | None = None
    """Message of the commit; by default, it names the artifact."""


def main(args: Args) -> None:
    """Uploads the artifact and prints the reference by which it can be loaded."""
    from wmrl.export.hub import push_to_hub

    reference = push_to_hub(
        args.artifact,
        args.repository,
        private=args.private,
        license_id=args.license,
        message=args.message,
    )
    print(f"uploaded: {reference}")
