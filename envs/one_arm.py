"""One planar arm out of a batch of one."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from wmrl.envs.arm import Arm
from wmrl.envs.planar_arm_vector import PlanarArmVectorEnv
from wmrl.envs.window import Window, checked_render_mode


class OneArmEnv(gym.Env[np.ndarray, np.ndarray]):
    """What environments of one planar arm have in common, whatever their actions are.

    Args:
        arms: one arm, with autoreset disabled and the render mode ``"rgb_array"``; its spaces are
            this environment's.
        render_mode: ``"rgb_array"`` or ``"human"`` (in a window).
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 -- Gymnasium's own attribute
        "render_modes": ["human", "rgb_array"],
        "render_fps": 2,
    }

    def __init__(self, arms: PlanarArmVectorEnv, *, render_mode: str | None = None) -> None:
        self._arms = arms
        self.render_mode = checked_render_mode(render_mode, self.metadata)
        self.observation_space = arms.single_observation_space
        self.action_space = arms.single_action_space
        self._running = False
        self._window = Window("wmrl: planar arm", fps=self.metadata["render_fps"])

    @property
    def arm(self) -> Arm:
        """The arm."""
        return self._arms.arm

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Stretches out the arm and sets its target."""
        super().reset(seed=seed)
        observations, info = self._arms.reset(seed=seed, options=options)
        self._running = True
        self._show()
        return observations[0], info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes on a pose, which ends the episode.

        Raises:
            ResetNeeded: the episode is over, or there was none yet.
            ValueError: ``action`` is none of the action space's shape, or has a number that is not
                finite or no code.
        """
        if not self._running:
            raise ResetNeeded("step: an arm takes one pose an episode; call reset() first")
        checked = self._arms.checked(action, self.action_space.shape)
        observations, rewards, *_, infos = self._arms.step(checked[None])
        self._running = False
        self._show()
        info = {name: value[0] for name, value in infos.items() if not name.startswith("_")}
        plain = {name: value if value.ndim else value.item() for name, value in info.items()}
        return observations[0], float(rewards[0]), True, False, plain

    def render(self) -> np.ndarray | None:
        """The arm as it was last posed, with ``render_mode="rgb_array"``."""
        if self.render_mode != "rgb_array":
            return None
        return self._frame()

    def close(self) -> None:
        """Closes the window, if there is one."""
        self._window.close()

    def _frame(self) -> np.ndarray:
        frames = self._arms.render()
        assert frames is not None
        return frames[0]

    def _show(self) -> None:
        if self.render_mode == "human":
            self._window.show(self._frame())
