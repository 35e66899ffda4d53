"""What is learned and kept: networks that are artifacts of a kind."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import nn

from wmrl.core.device import resolve_device
from wmrl.storage.artifact import (
    Artifact,
    ArtifactError,
    load_artifact,
    load_weights,
    restore_config,
    restore_module,
    save_artifact,
)

L = TypeVar("L", bound="Learned")


class Learned(nn.Module, ABC):
    """A network that is saved as an artifact and restored from it.

    A subclass sets ``config`` (a frozen dataclass) and ``config_class``, and is made from a
    configuration alone.

    Attributes:
        kind: of artifact.
        digest: SHA-256 of the weights' file that this was loaded from or last saved to, else None.
    """

    kind: ClassVar[str]
    config: Any
    config_class: ClassVar[type]
    digest: str | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def save(
        self,
        path: str | Path,
        *,
        provenance: Mapping[str, Any] | None = None,
        card: str | None = None,
        half: bool = True,
    ) -> str:
        """Writes an artifact (float16 by default) and returns its digest.

        The weights in memory are replaced by what was written, so that whatever is trained on
        what this object says has heard the very network that others will load.
        """
        save_artifact(
            path,
            kind=self.kind,
            class_name=type(self).__name__,
            config=asdict(self.config),
            tensors=self.state_dict(),
            provenance=provenance,
            card=card,
            half=half,
        )
        artifact = load_artifact(path, kind=self.kind)
        load_weights(self, artifact)
        self.digest = artifact.digest
        return artifact.digest

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Restores from an artifact that was read."""
        config: Any = restore_config(cls.config_class, artifact)
        learned = restore_module(lambda: cls._shaped_as(config, artifact), artifact)
        learned.digest = artifact.digest
        return learned.eval()

    @classmethod
    def _shaped_as(cls, config: Any, artifact: Artifact) -> Self:
        """One whose tensors have the shapes of the artifact's."""
        return cls(config)


def load_learned(
    base: type[L],
    classes: Mapping[str, str],
    name_or_path: str | Path,
    *,
    device: str | torch.device,
) -> L:
    """Opens an artifact by shipped name or path.

    Args:
        base: what kind of network is expected.
        classes: module of each class that is known.
        name_or_path: of the artifact.
        device: where the weights go.

    Raises:
        ArtifactError: it is missing, damaged, of another kind, or of a class that is not known.
    """
    artifact = load_artifact(name_or_path, kind=base.kind)
    if artifact.class_name not in classes:
        raise ArtifactError(
            f"{artifact.path}: unknown {base.kind} class {artifact.class_name!r}; "
            f"expected one of {sorted(classes)}"
        )
    cls: type[L] = getattr(import_module(classes[artifact.class_name]), artifact.class_name)
    return cls.from_artifact(artifact).to(resolve_device(device))
