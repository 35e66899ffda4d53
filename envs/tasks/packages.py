"""Packages that register environments with Gymnasium when they are imported."""

import re
from importlib import import_module
from typing import NamedTuple

import gymnasium as gym


class _Package(NamedTuple):
    """Package that registers environments.

    Attributes:
        ids: regular expression for the beginning of the ids that the package registers.
        module: module to import, which registers the environments.
        extra: name in square brackets in ``pip install "wmrl[…]"``, which installs the package.
    """

    ids: re.Pattern[str]
    module: str
    extra: str


_PACKAGES = (
    _Package(re.compile(r"ALE/|\w+NoFrameskip-v"), "ale_py", "atari"),
    _Package(re.compile(r"(MiniGrid|BabyAI)-"), "minigrid", "minigrid"),
    _Package(re.compile(r"Vizdoom\w"), "vizdoom.gymnasium_wrapper", "doom"),
)


def import_package_of(env_id: str) -> None:
    """Imports the package that registers an environment, if the package is a well-known one.

    The well-known packages are ``ale_py`` (ids ``ALE/…`` and ``…NoFrameskip-v4``), ``minigrid``
    (``MiniGrid-…`` and ``BabyAI-…``) and ``vizdoom`` (``Vizdoom…``). Nothing is imported if the id
    is already registered, contains a module (``"module:id"``), or belongs to none of these
    packages.

    Args:
        env_id: id of the environment.

    Raises:
        ImportError: the package is not installed, or cannot be imported.
    """
    if env_id in gym.registry:
        return
    for package in _PACKAGES:
        if package.ids.match(env_id):
            _import(package, env_id)


def _import(package: _Package, env_id: str) -> None:
    try:
        gym.register_envs(import_module(package.module))
    except ImportError as error:
        name = package.module.partition(".")[0]
        raise ImportError(
            f"env_id: the environment {env_id!r} needs the package {name!r}, whose import failed "
            f'({error}); install it with pip install "wmrl[{package.extra}]"'
        ) from error
