"""Artifacts in repositories of the Hugging Face hub (https://huggingface.co/docs/hub).

A repository contains at most one artifact of each kind, in the folder that is named after the
kind. The repository of an agent also contains the agent's world model::

    README.md     model card of the repository
    agent/        artifact of the agent
    vision/       artifact of the vision model
    memory/       artifact of the memory model

Only the files of artifacts are downloaded, to the cache of ``huggingface_hub``. When an artifact is
opened, its files are verified like those of any other artifact.
"""

import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from wmrl.core.warning import WMRLWarning
from wmrl.storage._artifact_files import (
    CARD,
    CONFIG,
    KINDS,
    MODEL,
    SUMS,
    ArtifactError,
    size_limit,
)
from wmrl.storage.recognition import recognize

SCHEME = "hf://"
"""Beginning of references to repositories, as in ``hf://user/name``."""

_FILES = [f"{kind}/{name}" for kind in KINDS for name in (CONFIG, MODEL, CARD, SUMS)]
_NAME = r"[A-Za-z0-9_][\w.-]*"
# pathlib removes the second slash of "hf://".
_REFERENCE = re.compile(
    rf"hf:/{{1,2}}(?P<repo_id>{_NAME}/{_NAME})(@(?P<revision>{_NAME}))?(/(?P<kind>\w+))?", re.ASCII
)
_CACHED = re.compile(rf"models--({_NAME})--({_NAME})/snapshots/([0-9a-f]{{40}})/(\w+)", re.ASCII)


class HubError(ArtifactError):
    """Error raised if a repository of the hub can't be found, reached, read or written."""


class HubWarning(WMRLWarning):
    """Warning shown if a repository can't be downloaded, so that a copy in the cache is used."""


@dataclass(frozen=True)
class HubReference:
    """Reference to an artifact in a repository of the hub.

    As a text, a reference is ``hf://user/name``, ``hf://user/name@revision``, or one of these with
    the kind of an artifact, as in ``hf://user/name@revision/vision``.

    Attributes:
        repo_id: name of the repository, ``"user/name"``.
        revision: branch, tag or commit; None for the branch ``main``.
        kind: kind of the artifact; None if the repository contains an agent or a single artifact.

    Example:
        >>> from wmrl.storage import HubReference
        >>> reference = HubReference.parse("hf://ada/car-racing@v1/vision")
        >>> reference.repo_id, reference.revision, reference.kind
        ('ada/car-racing', 'v1', 'vision')
        >>> print(reference)
        hf://ada/car-racing@v1/vision
    """

    repo_id: str
    revision: str | None = None
    kind: str | None = None

    @classmethod
    def parse(cls, text: str | Path) -> Self:
        """Reads a reference.

        Raises:
            HubError: ``text`` is not a reference.
        """
        found = _REFERENCE.fullmatch(str(text))
        if found is None or "--" in found["repo_id"] or found["kind"] not in (None, *KINDS):
            raise HubError(
                f"{text}: expected hf://user/name, hf://user/name@revision (a branch, a tag or a "
                f"commit, without a slash), or one of these and the kind of an artifact "
                f"({', '.join(KINDS)}), as in hf://user/name/vision"
            )
        return cls(**found.groupdict())

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{self.revision}"
        kind = "" if self.kind is None else f"/{self.kind}"
        return f"{SCHEME}{self.repo_id}{revision}{kind}"


def is_hub_reference(name_or_path: str | Path) -> bool:
    """Returns True if a name or path begins like a reference to a repository of the hub."""
    return str(name_or_path).startswith("hf:/")


def is_repo_id(name: str | Path) -> bool:
    """Returns True if a name has the form of a repository's name, ``"user/name"``."""
    return re.fullmatch(f"{_NAME}/{_NAME}", str(name), re.ASCII) is not None


def cached_reference(path: Path) -> HubReference | None:
    """Returns the reference, with its commit, of an artifact in the cache of ``huggingface_hub``.

    Args:
        path: absolute path of an artifact's folder.

    Returns:
        The reference; None if the folder is not in a cache of the hub.
    """
    found = _CACHED.fullmatch("/".join(path.parts[-4:]))
    if found is None or found[4] not in KINDS:
        return None
    return HubReference(f"{found[1]}/{found[2]}", found[3], found[4])


def find_hub_artifact(reference: HubReference, *, kind: str | None = None) -> Path:
    """Downloads a repository, and returns the folder of an artifact in the cache.

    Args:
        reference: reference to the artifact.
        kind: kind of the artifact, if the reference has none.

    Raises:
        HubError: the repository can't be found or reached, or has no such artifact.
        ImportError: the package ``huggingface_hub`` is not installed.
    """
    folder = _download(reference)
    return repository_artifact(folder, kind=reference.kind or kind, name=str(reference))


def kinds_in(folder: Path) -> list[str]:
    """Returns the kinds of the artifacts in the folder of a repository."""
    return [kind for kind in KINDS if recognize(folder / kind).kind == "artifact"]


def repository_artifact(folder: Path, *, kind: str | None, name: str) -> Path:
    """Returns the folder of an artifact in a repository's folder.

    Args:
        folder: folder of the repository.
        kind: kind of the artifact; None for the agent or, without an agent, for the only artifact.
        name: name of the repository, for error messages.

    Raises:
        HubError: the repository has no such artifact, or several artifacts and no agent.
    """
    kinds = kinds_in(folder)
    default = kinds[0] if len(kinds) == 1 else "agent"
    if (kind or default) not in kinds:
        expected = repr(kind) if kind else "'agent', or a single artifact"
        raise HubError(
            f"{name}: expected a repository with an artifact of kind {expected}, got one with "
            f"{' and '.join(map(repr, kinds)) or 'none'}; choose another repository or kind, as in "
            "hf://user/name/vision"
        )
    return folder / (kind or default)


def import_hub() -> ModuleType:
    """Imports the package ``huggingface_hub``.

    Raises:
        ImportError: the package is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError as error:
        raise ImportError(
            "the Hugging Face hub needs the package 'huggingface_hub', whose import failed "
            f'({error}); install it with pip install "wmrl[hub]"'
        ) from error
    module: ModuleType = huggingface_hub
    return module


@contextmanager
def hub_errors(name: str) -> Iterator[None]:
    """Replaces the errors of ``huggingface_hub`` in a ``with`` block by errors of one sentence.

    Args:
        name: name of the repository, at the beginning of the sentence.

    Raises:
        HubError: the hub refused something or was not reached, or a file operation failed.
    """
    errors = import_hub().errors
    try:
        yield
    except HubError:
        raise
    except (OSError, RuntimeError, ValueError, errors.HTTPError) as error:
        raise HubError(f"{name}: {_explanation(error)}") from error


def _explanation(error: BaseException) -> str:
    """Returns what went wrong and how to mend it, given an error of ``huggingface_hub``."""
    errors = import_hub().errors
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)

    def found(*types: type[BaseException]) -> Any:
        return next((cause for cause in causes if isinstance(cause, types)), None)

    if found(errors.GatedRepoError):
        return (
            "expected a repository that you may read, got one whose owner grants access on "
            "request; request it on the repository's page, and log in with hf auth login"
        )
    if found(errors.RepositoryNotFoundError):
        return (
            "expected a repository, got none of that name, or a private one; correct the name, or "
            "log in with hf auth login, to an account that may read it"
        )
    if found(errors.RevisionNotFoundError):
        return "expected a branch, a tag or a commit of the repository, got none of that name"
    if refusal := found(errors.HfHubHTTPError):
        if refusal.response.status_code in (401, 403):
            return (
                "expected an account that may do this, got none; log in with hf auth login, with a "
                f"token that may write if you push ({_line(refusal)})"
            )
        return f"expected the hub to do this, got an error; try again later ({_line(refusal)})"
    if found(errors.OfflineModeIsEnabled):
        return (
            "expected a repository in the cache, got none; unset HF_HUB_OFFLINE, which forbids to "
            "download it"
        )
    if failure := found(
        errors.HTTPError, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError
    ):
        return (
            "expected an answer of the hub, got none; check the network connection "
            f"({_line(failure)})"
        )
    return _line(causes[-1])


def _line(error: BaseException) -> str:
    """Returns the class and the message of an error in one line of bounded length."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def _download(reference: HubReference) -> Path:
    """Downloads the artifacts of a repository to the cache of ``huggingface_hub``.

    Nothing is downloaded before the sizes of all files are known.

    Returns:
        Folder of the repository's files at one commit.

    Raises:
        HubError: the repository can't be found or reached, has no artifact, or has a file that is
            too large.
        ImportError: the package ``huggingface_hub`` is not installed.

    Warns:
        HubWarning: the repository can't be downloaded, so that a copy in the cache is used.
    """
    hub = import_hub()
    name = str(replace(reference, kind=None))
    wanted = {"repo_id": reference.repo_id, "allow_patterns": _FILES}
    silent = _silent_bar(hub)
    with hub_errors(name):
        try:
            files = hub.snapshot_download(
                **wanted, revision=reference.revision, dry_run=True, tqdm_class=silent
            )
        except hub.errors.DryRunError as error:  # the hub was not reached, or refused
            return _cached_copy(hub, reference, error)
        _check_files(name, files)
        downloads = any(file.will_download for file in files)
        bar = None if downloads and sys.stderr.isatty() else silent
        commit = files[0].commit_hash
        return Path(hub.snapshot_download(**wanted, revision=commit, tqdm_class=bar))


def _cached_copy(hub: ModuleType, reference: HubReference, error: Exception) -> Path:
    """Returns the folder of a repository in the cache, if it can't be downloaded.

    Args:
        hub: the package ``huggingface_hub``.
        reference: reference to the repository.
        error: reason; raised if there is no complete copy in the cache.
    """
    try:
        folder = hub.snapshot_download(
            reference.repo_id,
            revision=reference.revision,
            allow_patterns=_FILES,
            local_files_only=True,
        )
    except hub.errors.LocalEntryNotFoundError:
        raise error from error.__cause__
    warnings.warn(
        f"{reference}: {_explanation(error)}; the copy in the cache is used, which is of the "
        f"commit {Path(folder).name}",
        HubWarning,
        stacklevel=2,
    )
    return Path(folder)


def _check_files(name: str, files: Sequence[Any]) -> None:
    """Checks the files of a repository before they are downloaded.

    Args:
        name: name of the repository, for error messages.
        files: descriptions of the files, from a dry run of ``snapshot_download``.

    Raises:
        HubError: there are no files, or a file is too large.
    """
    if not files:
        raise HubError(
            f"{name}: expected a repository with artifacts, such as vision/{CONFIG}, got one "
            "without; choose a repository that wmrl artifacts push wrote"
        )
    for file in files:
        limit = size_limit(Path(file.filename).name)
        if file.file_size is None or file.file_size > limit:
            raise HubError(
                f"{name}: expected at most {limit:,} bytes in {file.filename}, got "
                f"{file.file_size or 0:,}; choose another repository"
            )


def _silent_bar(hub: ModuleType) -> type[Any]:
    """Returns a class of progress bars that are never shown."""

    class Silent(hub.utils.tqdm):  # type: ignore[name-defined,misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

    return Silent
