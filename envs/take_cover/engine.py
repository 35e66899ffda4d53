"""Start of ViZDoom's game engine, which runs in a process of its own."""

import contextlib
import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from wmrl.envs.take_cover import launcher

_OVERRIDES = Path("_vizdoom.cfg")


def import_vizdoom() -> Any:
    """Imports the package vizdoom and returns it.

    Raises:
        ImportError: the package is not installed.
    """
    try:
        import vizdoom
    except ModuleNotFoundError as error:
        if error.name != "vizdoom":
            raise
        raise ImportError(
            "vsg/TakeCover-v0: expected the package vizdoom, which is not installed; run "
            'pip install "wmrl[doom]"'
        ) from error
    return vizdoom


def start_engine(*, skill: int, seed: int) -> Any:
    """Starts the game engine with the scenario Take Cover.

    The engine is a separate process. It runs in a temporary folder, which is removed once the
    engine has started. Therefore, no files are left behind. On Linux, the engine is killed when the
    process that called this function exits or is killed.

    Args:
        skill: skill level of the monsters, 1 to 5.
        seed: seed of the first episode, 0 to 2³² − 1.

    Returns:
        The running ``vizdoom.DoomGame``, without a time limit, in its first episode. Its pictures
        are ``(120, 160, 3) uint8``.

    Raises:
        ImportError: the package vizdoom is not installed.
        RuntimeError: the current folder contains ``_vizdoom.cfg``, a file with settings for
            ViZDoom; or programs can't be run from the folder for temporary files.
    """
    vizdoom = import_vizdoom()
    if _OVERRIDES.exists():
        raise RuntimeError(
            f"vsg/TakeCover-v0: expected no file {_OVERRIDES} in the current folder "
            f"{Path.cwd()}, because ViZDoom would apply the file's settings; rename the file"
        )
    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path) / "take_cover.cfg"))
    game.set_doom_game_path(str(Path(vizdoom.root_path) / "freedoom2.wad"))
    game.set_doom_skill(skill)
    game.set_episode_timeout(0)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_window_visible(False)
    game.set_seed(seed)
    game.set_doom_config_path(os.devnull)  # otherwise it would write settings when it ends
    with TemporaryDirectory(prefix="wmrl-take-cover-") as folder:
        game.set_vizdoom_path(_write_launcher(vizdoom.exe_path, folder))
        game.init()
        _remove_names(game.get_instance_id())
    return game


def _write_launcher(program: str, folder: str) -> str:
    """Writes a script that runs the game engine, and returns the path of the script.

    On systems other than POSIX, such scripts can't be run. There, no script is written, and the
    path of the game engine is returned instead.

    Args:
        program: path of the game engine.
        folder: folder to which the script is written, and in which the script runs the engine.

    Raises:
        RuntimeError: programs can't be run from the folder.
    """
    if os.name != "posix":  # pragma: no cover
        return program
    script = Path(folder) / "vizdoom"
    python = [sys.executable, "-I", "-S", launcher.__file__]
    command = shlex.join([*python, str(os.getpid()), folder, program])
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(0o700)
    if not os.access(script, os.X_OK):
        raise RuntimeError(
            f"vsg/TakeCover-v0: expected a folder for temporary files from which programs can be "
            f"run, got {folder}, which is on a disk that is mounted with noexec; set TMPDIR to "
            "another folder"
        )
    return str(script)


def _remove_names(instance: str) -> None:
    """Removes the names of the memory that this process shares with the game engine.

    Both processes have opened the shared memory when this function is called, so they no longer
    need the names. Without names, the operating system frees the memory (10 MB) once both processes
    have ended, even if they are killed.

    Args:
        instance: id that ViZDoom gave to the game; it is part of the names.
    """
    for kind in ("SM", "MQCtr", "MQDoom"):
        with contextlib.suppress(OSError):
            Path(f"/dev/shm/ViZDoom{kind}{instance}").unlink()
