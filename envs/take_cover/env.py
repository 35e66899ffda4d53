"""Environment of the Doom scenario Take Cover."""

from typing import Any, SupportsInt

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import EzPickle

from wmrl.core.processes import follow_parent
from wmrl.core.validation import check_int, check_seed
from wmrl.envs.rendering.window import Window, check_render_mode, enlarge
from wmrl.envs.take_cover.engine import import_vizdoom, start_engine

_SHAPE = (120, 160, 3)
_BUTTON_OF_ACTION = ("MOVE_LEFT", None, "MOVE_RIGHT")


class TakeCover(gym.Env[np.ndarray, np.int64], EzPickle):
    """Environment of the Doom scenario Take Cover: dodge fireballs for as long as possible.

    ## Description
    The agent stands at one end of a room. Monsters at the other end throw fireballs. The agent can
    only step aside. As time passes, there are more monsters. The game is ViZDoom's scenario
    ``take_cover`` with the free graphics of Freedoom. This scenario is the second game of World
    Models (https://arxiv.org/abs/1803.10122). A step lasts one tic of the game, 1/35 of a second.

    The game engine runs in a process of its own. The first ``reset`` starts the engine, and
    ``close`` ends it. On Linux, the engine also ends if the process of the environment is killed.
    The engine writes no files to the current folder.

    ## Action Space
    ``Discrete(3)``: 0 moves left, 1 stays, 2 moves right. The agent gathers speed slowly, and does
    not move in the first 7 tics of an episode.

    ## Observation Space
    ``Box(0, 255, (120, 160, 3), uint8)``: what the agent sees, without weapon and status bar. After
    the agent's death, there is no picture, and the observation is black.

    ## Rewards
    1 for each tic after which the agent is alive. The return is the number of survived tics, which
    is the score in World Models. ViZDoom's own reward is the same except that it also counts the
    tic in which the agent dies.

    ## Starting State
    The agent stands in the middle with full health, opposite three monsters. All that follows is
    random. ``reset(seed=s)`` always starts the same episode, in any process and regardless of
    earlier episodes.

    ## Episode End
    Terminates when the agent dies. Truncates after ``max_tics`` tics; the last observation then
    shows the game, as in any other step.

    ## Information
    ``"tics"``, the number of tics since the reset, and ``"survived"``, which is True if the agent
    is alive after ``max_tics`` tics.

    ## Arguments
    - ``skill=4``: skill level from 1 (easy) to 5 (nightmare).
    - ``max_tics=2100``: number of tics after which an episode is truncated.
    - ``render_mode=None``: ``"rgb_array"``, ``"human"`` (in a window) or None.

    ## Version History
    - v0: first version.

    Raises:
        ImportError: the package vizdoom is not installed.
        ValueError: an argument is out of range or has the wrong type.
        DisplayError: ``render_mode`` is ``"human"``, and there is no display.

    Example:
        >>> import gymnasium as gym
        >>> import wmrl  # registers the environment
        >>> env = gym.make("vsg/TakeCover-v0")
        >>> observation, info = env.reset(seed=0)
        >>> observation.shape, observation.dtype
        ((120, 160, 3), dtype('uint8'))
        >>> observation, reward, terminated, truncated, info = env.step(2)
        >>> reward, info["tics"]
        (1.0, 1)
        >>> env.close()
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 -- Gymnasium's own attribute
        "render_modes": ["human", "rgb_array"],
        "render_fps": 35,
    }

    def __init__(
        self, *, skill: int = 4, max_tics: int = 2100, render_mode: str | None = None
    ) -> None:
        follow_parent()
        EzPickle.__init__(self, skill=skill, max_tics=max_tics, render_mode=render_mode)
        self.skill = check_int("skill", skill, at_least=1, at_most=5)
        self.max_tics = check_int("max_tics", max_tics, at_least=1)
        self.render_mode = check_render_mode(render_mode, self.metadata)
        import_vizdoom()
        self.action_space = spaces.Discrete(3)
        self.observation_space = spaces.Box(0, 255, _SHAPE, np.uint8)
        self._game: Any = None
        self._buttons: list[list[bool]] = []  # states of the buttons for each action
        self._tics = 0
        self._running = False
        self._window = Window("wmrl: Take Cover", fps=self.metadata["render_fps"])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode, and the game engine if it isn't running.

        Raises:
            ValueError: ``seed`` is not an integer from 0 to 2⁶³ − 1.
            RuntimeError: the game engine can't be started (see
                :func:`~wmrl.envs.take_cover.engine.start_engine`).
        """
        super().reset(seed=None if seed is None else check_seed("seed", seed))
        episode = int(self.np_random.integers(2**32))
        if self._game is None or not self._game.is_running():
            self._game = start_engine(skill=self.skill, seed=episode)
            available = [button.name for button in self._game.get_available_buttons()]
            self._buttons = [[name == each for each in available] for name in _BUTTON_OF_ACTION]
        # The first episode of an engine is started in the same way as all others.
        self._game.set_seed(episode)
        self._game.new_episode()
        self._tics = 0
        self._running = True
        self._show()
        return self.observe(), {"tics": 0, "survived": False}

    def step(self, action: SupportsInt) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Plays one tic.

        Raises:
            ResetNeeded: no episode is running.
            ValueError: the action is not 0, 1 or 2.
            vizdoom.ViZDoomErrorException: the game engine has ended; ``reset`` starts another.
        """
        reward, terminated, truncated, info = self.advance(action)
        self._show()
        return self.observe(), reward, terminated, truncated, info

    def advance(
        self, action: SupportsInt, frames: int = 1
    ) -> tuple[float, bool, bool, dict[str, Any]]:
        """Repeats an action for several tics, or until the episode ends.

        Only the picture after the last tic is rendered; :meth:`observe` returns it.

        Args:
            action: an element of the action space.
            frames: number of tics, at least 1.

        Returns:
            Sum of the rewards of these tics, and ``terminated``, ``truncated`` and ``info`` after
            the last tic.

        Raises:
            ResetNeeded: no episode is running.
            ValueError: the action is not 0, 1 or 2, or ``frames`` is less than 1.
            vizdoom.ViZDoomErrorException: the game engine has ended; ``reset`` starts another.
        """
        if not self._running:
            raise ResetNeeded("step: no episode is running; call reset() first")
        buttons = self._buttons[_checked_action(action)]
        frames = min(check_int("frames", frames, at_least=1), self.max_tics - self._tics)
        before = self._game.get_episode_time()
        self._game.make_action(buttons, frames)
        played = self._game.get_episode_time() - before
        self._tics += played
        terminated = self._game.is_player_dead()
        truncated = not terminated and self._tics >= self.max_tics
        self._running = not (terminated or truncated)
        info = {"tics": self._tics, "survived": truncated}
        return float(played - terminated), terminated, truncated, info

    def observe(self) -> np.ndarray:
        """Returns the observation of the current state.

        Returns:
            A new array ``(120, 160, 3) uint8``, which is black after the agent's death.

        Raises:
            ResetNeeded: the environment has not been reset, or is closed.
        """
        if self._game is None:
            raise ResetNeeded("observe: no episode is running; call reset() first")
        state = self._game.get_state()
        if state is None:
            return np.zeros(_SHAPE, np.uint8)
        picture: np.ndarray = state.screen_buffer.copy()
        return picture

    def render(self) -> np.ndarray | None:
        """Returns the enlarged observation if the render mode is ``"rgb_array"``, otherwise None.

        Returns:
            ``(480, 640, 3) uint8``.
        """
        return self._frame() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Ends the game engine, and closes the window if there is one."""
        self._window.close()
        self._running = False
        game, self._game = self._game, None
        if game is not None:
            game.close()

    def _frame(self) -> np.ndarray:
        return enlarge(self.observe(), height=4 * _SHAPE[0])

    def _show(self) -> None:
        if self.render_mode == "human":
            self._window.show(self._frame())


def _checked_action(action: Any) -> int:
    """Checks an action, and returns it as an integer."""
    if isinstance(action, np.ndarray) and action.shape == ():
        action = action[()]
    return check_int("action", action, at_least=0, at_most=2)
