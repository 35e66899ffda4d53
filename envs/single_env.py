"""Base class of environments that wrap a vector environment of size 1."""

from abc import abstractmethod
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.core import ObsType
from gymnasium.error import ResetNeeded
from gymnasium.vector import VectorEnv

from wmrl.core.processes import follow_parent
from wmrl.core.validation import check_seed
from wmrl.envs.rendering.window import Window, check_render_mode
from wmrl.envs.specs import SpecNamesModels


class SingleEnv(SpecNamesModels, gym.Env[ObsType, np.ndarray]):
    """Base class of environments that wrap a vector environment with ``num_envs=1``.

    A subclass sets ``metadata`` with the render modes ``"human"`` and ``"rgb_array"``, and
    implements :meth:`check_action`.

    Args:
        batch: vector environment with ``num_envs=1``, autoreset disabled and the render mode
            ``"rgb_array"``. The new environment has the frame rate of ``batch``, and its spaces are
            the ``single_observation_space`` and the ``single_action_space`` of ``batch``.
        render_mode: ``"human"`` to show frames in a window, ``"rgb_array"`` to return them from
            :meth:`render`, or None.
        title: title of the window.

    Attributes:
        reset_needed: message of the error that :meth:`step` raises if no episode is running.

    Raises:
        ValueError: the render mode is not supported.
    """

    reset_needed: ClassVar[str] = "step: no episode is running; call reset() first"

    def __init__(
        self, batch: VectorEnv[Any, Any, Any], *, render_mode: str | None, title: str
    ) -> None:
        follow_parent()
        self.render_mode = check_render_mode(render_mode, self.metadata)
        self._batch = batch
        self.observation_space = batch.single_observation_space
        self.action_space = batch.single_action_space
        self.metadata = {**self.metadata, "render_fps": batch.metadata["render_fps"]}
        self._running = False
        self._window = Window(title, fps=self.metadata["render_fps"])

    @abstractmethod
    def check_action(self, action: np.ndarray) -> np.ndarray:
        """Checks an action, and converts it to an action of the vector environment.

        Returns:
            The converted action, without a batch axis.

        Raises:
            ValueError: the action has the wrong shape or invalid values.
        """

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Starts an episode; passes ``seed`` and ``options`` to the vector environment.

        Raises:
            ValueError: ``seed`` is not an integer of at least 0, or an option is invalid.
        """
        seed = None if seed is None else check_seed("seed", seed)
        super().reset(seed=seed)
        observations, info = self._batch.reset(seed=seed, options=options)
        self._running = True
        self._show()
        return select_observation(observations, 0), info

    def step(self, action: np.ndarray) -> tuple[ObsType, float, bool, bool, dict[str, Any]]:
        """Advances the episode by one agent step.

        Raises:
            ResetNeeded: no episode is running.
            ValueError: the action has the wrong shape or invalid values.
        """
        if not self._running:
            raise ResetNeeded(self.reset_needed)
        actions = self.check_action(action)[None]
        observations, rewards, terminated, truncated, infos = self._batch.step(actions)
        ended = bool(terminated[0]), bool(truncated[0])
        self._running = not any(ended)
        self._show()
        return select_observation(observations, 0), float(rewards[0]), *ended, _select_info(infos)

    def render(self) -> np.ndarray | None:
        """Returns the current frame if the render mode is ``"rgb_array"``, otherwise None."""
        return self._frame() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Closes the window, if there is one."""
        self._window.close()

    def _frame(self) -> np.ndarray:
        frames: Any = self._batch.render()
        frame: np.ndarray = frames[0]
        return frame

    def _show(self) -> None:
        if self.render_mode == "human":
            self._window.show(self._frame())


def select_observation(observations: Any, index: int) -> Any:
    """Returns the observation at ``index`` from a batch (an array or a dictionary of arrays)."""
    if isinstance(observations, dict):
        return {key: value[index] for key, value in observations.items()}
    return observations[index]


def _select_info(infos: dict[str, Any]) -> dict[str, Any]:
    """Converts the info of a vector environment of size 1 to the info of its sub-environment.

    The masks that Gymnasium adds under names with a leading underscore are left out.
    """
    info = {name: value[0] for name, value in infos.items() if not name.startswith("_")}
    return {name: value if value.ndim else value.item() for name, value in info.items()}
