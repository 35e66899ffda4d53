"""Sharing of saved models and agents in repositories of the Hugging Face hub.

:mod:`wmrl.storage.hub` describes the contents of a repository. Everything that loads artifacts also
takes references to repositories, such as ``load_agent("hf://user/name")``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from wmrl.agents.agent import load_agent
from wmrl.agents.evaluation.result import results_beside
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.device import resolve_device
from wmrl.encodings.base import load_encoding
from wmrl.export.model_card import model_card, score_of, task_of
from wmrl.memory.base import load_memory
from wmrl.priors.code_prior import CodePrior
from wmrl.storage.artifact import (
    KINDS,
    Artifact,
    ArtifactError,
    copy_artifact,
    find_artifact,
    load_artifact,
)
from wmrl.storage.files import atomic_path
from wmrl.storage.hub import (
    SCHEME,
    HubReference,
    hub_errors,
    import_hub,
    is_hub_reference,
    is_repo_id,
    kinds_in,
    repository_artifact,
)
from wmrl.storage.recognition import recognize
from wmrl.vision.base import load_vision

_CARD = "README.md"


def _load_prior(path: Path, device: str | torch.device) -> CodePrior:
    prior = CodePrior.from_artifact(load_artifact(path, kind="prior"))
    return prior.to(resolve_device(device))


def _load_elites(path: Path, device: str | torch.device) -> Any:
    from wmrl.agents.quality_diversity.archive import load_elites  # ribs takes seconds to import

    return load_elites(path)


_LOADERS: dict[str, Callable[[Path, str | torch.device], Any]] = {
    "vision": lambda path, device: load_vision(path, device=device),
    "memory": lambda path, device: load_memory(path, device=device),
    "encoding": lambda path, device: load_encoding(path, device=device),
    "agent": lambda path, device: load_agent(path, device=device),
    "elites": _load_elites,
    "prior": _load_prior,
}


def from_pretrained(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    kind: str | None = None,
    device: str | torch.device = "auto",
) -> Any:
    """Loads a model or an agent of any kind from a repository of the Hugging Face hub.

    The repository is downloaded to the cache of ``huggingface_hub``. It is verified like any other
    artifact, and runs no code.

    Args:
        name_or_path: name of the repository, ``"user/name"`` or ``"hf://user/name"``; folder that
            :func:`save_pretrained` wrote; or name or path of an artifact. A folder of that name
            takes precedence over a repository.
        revision: branch, tag or commit of the repository; None for the branch ``main``.
        kind: kind of the artifact, such as ``"vision"``, if the repository contains several. None
            for the agent or, without an agent, for the only artifact.
        device: device of the weights; ``"auto"`` is the CPU for agents, and a GPU, if there is one,
            for other models.

    Returns:
        The :class:`~wmrl.vision.Vision`, :class:`~wmrl.memory.Memory`,
        :class:`~wmrl.encodings.Encoding`, :class:`~wmrl.priors.CodePrior` or
        :class:`~wmrl.agents.Agent`. For elites, the tuple of
        :func:`~wmrl.agents.quality_diversity.load_elites`.

    Raises:
        ArtifactError: the repository can't be found or reached, has no such artifact, or has a
            damaged one.
        ValueError: there is no such device.
        ImportError: the package ``huggingface_hub`` is needed, but not installed.

    Example:
        >>> from wmrl.export import from_pretrained, save_pretrained
        >>> folder = save_pretrained("car-racing-dream", "shared")
        >>> sorted(path.name for path in folder.iterdir())
        ['README.md', 'agent', 'memory', 'vision']
        >>> agent = from_pretrained("shared")
        >>> agent.open_world_model(device="cpu").observation_space.shape
        (288,)
        >>> from_pretrained("shared", kind="vision", device="cpu").latent_dim
        32
    """
    if is_repo_id(name_or_path) and not Path(name_or_path).exists():
        name_or_path = f"{SCHEME}{name_or_path}"
    if revision is not None:
        name_or_path = _at_revision(name_or_path, revision)
    path = _find(name_or_path, kind)
    kind = kind or recognize(path).detail
    if kind not in _LOADERS:
        raise ArtifactError(f"{path}: expected an artifact of kind {KINDS}, got {kind!r:.100}")
    return _LOADERS[kind](path, device)


def save_pretrained(
    name_or_path: str | Path, folder: str | Path, *, license_id: str | None = None
) -> Path:
    """Writes the folder of a repository: an artifact of any kind, with a model card.

    The folder of an agent also contains a copy of the agent's world model, to which the agent
    refers by relative paths. The folder is complete: it can be moved, and be opened on another
    machine by :func:`from_pretrained`.

    Args:
        name_or_path: name, path or reference ``hf://user/name`` of the artifact. Save models and
            agents that have no artifact yet with their method ``save``.
        folder: folder to write, which must be empty or not exist.
        license_id: license of the artifact for the model card, by its identifier on the hub, such
            as ``"mit"``; None for none.

    Returns:
        The folder.

    Raises:
        ArtifactError: an artifact is missing or damaged, the world model is not the one that the
            agent was trained with, or ``folder`` is not empty.
        TypeError: ``name_or_path`` is neither a name nor a path.
        ImportError: the package ``huggingface_hub``, which the model card needs, is not installed.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ArtifactError(
            f"folder: expected an empty folder, or nothing, got {recognize(folder).description} at "
            f"{str(folder)!r}; choose another folder, or remove it"
        )
    artifact = load_artifact(_find(name_or_path, None))
    with atomic_path(folder) as aside:
        _write_repository(artifact, aside, name=folder.resolve().name, license_id=license_id)
    return folder


def push_to_hub(
    name_or_path: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    license_id: str | None = None,
    message: str | None = None,
) -> str:
    """Uploads an artifact of any kind to a repository of the Hugging Face hub.

    The contents of the repository are those that :func:`save_pretrained` writes. They replace
    earlier artifacts of the repository, and its model card, in a single commit. Log in beforehand
    with ``hf auth login``, or set the environment variable ``HF_TOKEN``.

    Args:
        name_or_path: name, path or reference ``hf://user/name`` of the artifact. Save models and
            agents that have no artifact yet with their method ``save``.
        repo_id: name of the repository, ``"user/name"``; it is created if it does not exist.
        private: True to create a private repository; False to create one with the visibility that
            is usual for the account. A repository that exists keeps its visibility.
        license_id: license of the artifact for the model card, by its identifier on the hub, such
            as ``"mit"``; None for none.
        message: message of the commit; by default, it names the artifact.

    Returns:
        Reference to the uploaded artifact with its commit, ``"hf://user/name@commit"``.

    Raises:
        ArtifactError: an artifact is missing or damaged, or the hub can't be reached or refuses the
            upload.
        TypeError: ``name_or_path`` is neither a name nor a path.
        ImportError: the package ``huggingface_hub`` is not installed.
    """
    reference = HubReference.parse(repo_id if is_hub_reference(repo_id) else f"{SCHEME}{repo_id}")
    if reference != HubReference(reference.repo_id):
        raise ArtifactError(
            f"repo_id: expected user/name, got {repo_id!r}; leave out the revision and the kind"
        )
    artifact = load_artifact(_find(name_or_path, None))
    with TemporaryDirectory() as folder:
        _write_repository(artifact, Path(folder), name=reference.repo_id, license_id=license_id)
        message = message or f"{artifact.class_name}, weights {artifact.digest[:12]}"
        with hub_errors(str(reference)):
            commit = _upload(Path(folder), reference.repo_id, private=private, message=message)
    return str(replace(reference, revision=commit))


def scores_of(artifact: Artifact) -> list[dict[str, Any]]:
    """Returns the scores of an agent in the real game; none for other artifacts.

    Returns:
        The score in the artifact's provenance, or else the results of evaluations in the JSON files
        beside the artifact. Each has the entries ``mean``, ``std``, ``episodes`` and ``base``.
    """
    if artifact.kind != "agent":
        return []
    if (score := score_of(artifact)) is not None:
        return [score]
    return [
        {name: getattr(result, name) for name in ("mean", "std", "episodes", "base")}
        for result in results_beside(artifact.path, artifact.digest)
        if result.base != "dream"
    ]


def _at_revision(name_or_path: str | Path, revision: str) -> str:
    """Returns the reference to a repository with a revision."""
    if not is_hub_reference(name_or_path):
        raise ArtifactError(
            f"revision: expected None for {str(name_or_path)!r}, which is not on the hub, got "
            f"{revision!r}; leave it out"
        )
    reference = HubReference.parse(name_or_path)
    if reference.revision not in (None, revision):
        raise ArtifactError(
            f"revision: expected {reference.revision!r} as in {reference}, got {revision!r}; leave "
            "one of them out"
        )
    return str(HubReference.parse(str(replace(reference, revision=revision))))


def _find(name_or_path: str | Path, kind: str | None) -> Path:
    """Returns the folder of an artifact, which may be in the folder of a repository."""
    given: object = name_or_path  # the annotation is not checked at run time
    if not isinstance(given, str | Path):
        raise TypeError(
            "name_or_path: expected the name or path of a saved artifact, got a "
            f"{type(given).__name__}; save it first, with its method save(path)"
        )
    if kinds_in(Path(name_or_path)):
        return repository_artifact(Path(name_or_path), kind=kind, name=str(name_or_path))
    return find_artifact(name_or_path, kind=kind)


def _write_repository(
    artifact: Artifact, folder: Path, *, name: str, license_id: str | None
) -> None:
    """Writes the files of a repository.

    Args:
        artifact: main artifact of the repository.
        folder: folder to write.
        name: name of the repository or of its folder, for the model card.
        license_id: license of the artifact; None for none.
    """
    models = _world_model(artifact)
    config = dict(artifact.config)
    if models:
        config["world_model"] = {
            **config["world_model"],
            **{kind: f"../{kind}" for kind in models},
        }
    copy_artifact(artifact, folder / artifact.kind, config=config)
    for kind, model in models.items():
        copy_artifact(model, folder / kind, config=model.config)
    (folder / _CARD).write_text(_card(artifact, name, license_id), encoding="utf-8")


def _world_model(artifact: Artifact) -> dict[str, Artifact]:
    """Loads the models of an agent's world model, by kind; none for other artifacts."""
    ref = WorldModelRef.from_artifact(artifact) if artifact.kind == "agent" else None
    if ref is None:
        return {}
    named = {"vision": (ref.vision, ref.vision_digest), "memory": (ref.memory, ref.memory_digest)}
    models = {}
    for kind, (name, digest) in named.items():
        if name is None:
            continue
        models[kind] = model = load_artifact(name, kind=kind)
        if digest != model.digest:  # a reference without a digest may lead to any model
            raise ArtifactError(
                f"{artifact.path}: expected its {kind} model with digest {str(digest)[:12]}… at "
                f"{name}, got digest {model.digest[:12]}…; put back the model that it was trained "
                "with"
            )
    return models


def _card(artifact: Artifact, name: str, license_id: str | None) -> str:
    """Returns the model card of a repository, with the metadata that the hub reads."""
    hub = import_hub()
    scores = scores_of(artifact)
    tags = ["reinforcement-learning", "world-models", "gymnasium", artifact.kind, task_of(artifact)]
    title = name.rpartition("/")[2]
    results = [_eval_result(score) for score in scores]
    metadata = hub.ModelCardData(
        library_name="wmrl",
        license=license_id,
        tags=[tag for tag in tags if tag],
        pipeline_tag="reinforcement-learning" if artifact.kind == "agent" else None,
        **({"model_name": title, "eval_results": results} if results else {}),
    )
    return f"---\n{metadata}\n---\n\n{model_card(artifact, name, scores=scores)}"


def _eval_result(score: Mapping[str, Any]) -> Any:
    return import_hub().EvalResult(
        task_type="reinforcement-learning",
        task_name="reinforcement-learning",
        dataset_type=score["base"],
        dataset_name=score["base"],
        metric_type="mean_reward",
        metric_name=f"mean return of {score['episodes']} episodes",
        metric_value=f"{score['mean']:.2f} +/- {score['std']:.2f}",
    )


def _upload(folder: Path, repo_id: str, *, private: bool, message: str) -> str:
    """Uploads the files of a repository in one commit, and returns the commit's hash.

    Files of earlier artifacts that the repository no longer has are deleted.
    """
    hub = import_hub()
    api = hub.HfApi(library_name="wmrl")
    api.create_repo(repo_id, private=private or None, exist_ok=True)
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    added = [
        hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=path)
        for name, path in sorted(files.items())
        if path.is_file()
    ]
    deleted = [
        hub.CommitOperationDelete(path_in_repo=name)
        for name in api.list_repo_files(repo_id)
        if name.partition("/")[0] in KINDS and name not in files
    ]
    commit = api.create_commit(repo_id, [*added, *deleted], commit_message=message)
    return str(commit.oid)
