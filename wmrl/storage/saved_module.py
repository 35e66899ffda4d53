"""Networks that are saved as artifacts."""

from abc import ABC
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import nn

from wmrl.core.device import resolve_device
from wmrl.storage.artifact import Artifact, ArtifactError, load_artifact, save_artifact
from wmrl.storage.registry import Registry
from wmrl.storage.restoring import load_weights, restore_config, restore_module

M = TypeVar("M", bound="SavedModule")


class SavedModule(nn.Module, ABC):
    """Base class of networks that can be saved as artifacts and restored from them.

    A subclass sets ``kind``, ``config_class`` and ``config`` (a frozen dataclass). Its constructor
    takes the configuration as its only required argument.

    Attributes:
        kind: kind of the artifact.
        config: configuration of the network.
        config_class: class of the configuration.
        digest: SHA-256 of the file that the weights were loaded from or last saved to; None if
            there is no such file.
        saved_at: artifact that the weights were loaded from or last saved to: the name of a shipped
            artifact, or the absolute path of any other. None if there is no such artifact.
    """

    kind: ClassVar[str]
    config: Any
    config_class: ClassVar[type]
    digest: str | None = None
    saved_at: str | None = None

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    def save(
        self,
        path: str | Path,
        *,
        provenance: Mapping[str, Any] | None = None,
        card: str | None = None,
        half: bool = True,
    ) -> str:
        """Writes an artifact and returns its digest.

        If ``half`` is True, the saved weights are rounded. The rounded weights also replace the
        weights in memory, so that this network has the same outputs as a network loaded from the
        artifact.

        Args:
            path: folder to write.
            provenance: JSON-serializable description of the network's origin.
            card: model card in Markdown; None for no card.
            half: True to store floating-point tensors as float16. A tensor with values beyond the
                range of float16 keeps its dtype.
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
        self.digest, self.saved_at = artifact.digest, artifact.name_or_path
        return artifact.digest

    def save_copy(self, path: str | Path, *, provenance: Mapping[str, Any] | None = None) -> str:
        """Writes the artifact that :meth:`save` would write, and leaves this network unchanged.

        Returns:
            The digest of the artifact.
        """
        return deepcopy(self).save(path, provenance=provenance)

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        """Restores a network, in evaluation mode, from the content of an artifact."""
        config: Any = restore_config(cls.config_class, artifact)
        module = restore_module(lambda: cls._shaped_as(config, artifact), artifact)
        module.digest, module.saved_at = artifact.digest, artifact.name_or_path
        return module.eval()

    @classmethod
    def _shaped_as(cls, config: Any, artifact: Artifact) -> Self:
        """Creates a network whose weights have the same shapes as those of an artifact.

        A subclass overrides this method if the shapes depend on more than the configuration.
        """
        return cls(config)


def load_saved_module(
    registry: Registry[M], name_or_path: str | Path, *, device: str | torch.device
) -> M:
    """Loads a network from an artifact, in evaluation mode.

    Args:
        registry: registry that contains the network's class.
        name_or_path: name of a shipped artifact, or path of an artifact's folder.
        device: device of the weights.

    Raises:
        ArtifactError: the artifact is missing or damaged, is not of the registry's kind, or has a
            class that the registry does not contain.
    """
    artifact = load_artifact(name_or_path, kind=registry.kind)
    try:
        cls = registry.find(artifact.class_name)
    except ValueError as error:
        raise ArtifactError(f"{artifact.path}: {error}") from error
    return cls.from_artifact(artifact).to(resolve_device(device))
