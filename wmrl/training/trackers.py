"""Callbacks that log metrics to experiment trackers."""

from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

from wmrl.core.validation import check_choice, check_name
from wmrl.storage.files import write_json
from wmrl.storage.reading import read_json
from wmrl.training.callbacks import Callback, RunContext


class WandbCallback(Callback):
    """Callback that logs metrics to Weights & Biases (https://wandb.ai).

    It needs the package wandb: ``pip install "wmrl[wandb]"``. The W&B run has the configuration of
    the training. A training that is resumed continues its W&B run, whose id is kept in
    ``wandb.json`` in the folder of the run.

    Without an account, use ``mode="offline"``. The W&B run is then written to ``wandb/`` in the
    folder of the run, and ``wandb sync`` can upload it later.

    Args:
        project: name of the W&B project.
        mode: ``"online"`` or ``"offline"``; None for the mode that the environment variable
            ``WANDB_MODE`` names, or ``"online"`` if it is not set.
        options: further arguments of ``wandb.init``, such as ``group`` and ``tags``.

    Raises:
        ImportError: the package wandb is not installed.
        ValueError: ``project`` or ``mode`` is not as described.
    """

    def __init__(
        self,
        project: str = "wmrl",
        *,
        mode: Literal["online", "offline"] | None = None,
        **options: Any,
    ) -> None:
        try:
            import wandb

            self._init, self._error = wandb.init, wandb.Error
        except (ImportError, AttributeError) as error:  # a folder wandb can be imported as well
            raise ImportError(
                "WandbCallback: expected the package wandb, which is not installed; run pip "
                'install "wmrl[wandb]"'
            ) from error
        check_choice("mode", mode, ("online", "offline", None))
        self._options = {"project": check_name("project", project), "mode": mode, **options}
        self._run: Any = None

    def start(self, context: RunContext) -> None:
        """Starts the W&B run, or continues it."""
        options = {"name": context.name, "config": dict(context.config), "reinit": "create_new"}
        if context.path is not None:
            folder = str(context.path)
            number = _run_id(context.path / "wandb.json")
            options |= {"name": folder, "dir": folder, "id": number, "resume": "allow"}
        try:
            self._run = self._init(**options | self._options)
        except self._error as error:
            raise RuntimeError(
                f"expected an account at W&B, got an error ({error}); run wandb login, or log to a "
                'file with WandbCallback(mode="offline") and upload it later with wandb sync'
            ) from error

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Logs a row, unless it was logged before an interruption."""
        if step >= self._run.step:
            self._run.log(dict(metrics), step=step)

    def end(self, error: BaseException | None) -> None:
        """Ends the W&B run."""
        run, self._run = self._run, None
        if run is not None:
            run.finish(exit_code=0 if error is None else 1)


def _run_id(path: Path) -> str:
    """Reads the id of a W&B run from a file, or writes a new id to the file if there is none."""
    if not path.exists():
        write_json(path, {"id": token_hex(4)})
    return str(read_json(path, mend="delete it to log to a new W&B run")["id"])
