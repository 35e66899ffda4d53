"""A planar arm that takes on one pose an episode."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import EzPickle
from gymnasium.vector import AutoresetMode

from wmrl.envs.planar_arm.arm import Arm
from wmrl.envs.planar_arm.targets import Target
from wmrl.envs.planar_arm.validation import Locks
from wmrl.envs.planar_arm.vector import PlanarArmVectorEnv
from wmrl.envs.rendering.window import Window, checked_render_mode


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


class PlanarArmEnv(OneArmEnv, EzPickle):
    """A planar arm that takes on one pose an episode.

    ## Description
    The arm of Data-Driven Encodings (https://arxiv.org/abs/2003.04389): n joints, links of length
    1/n, the base at the origin. It is to bend as evenly as it can, and if there is a target, to
    reach it. What changes the problem may be chosen: link lengths, joints that are stuck, circles
    in the way. Whole batches, without episodes, are evaluated by
    :class:`~wmrl.envs.planar_arm.arm.Arm`.

    ## Action Space
    ``Box(n,)`` float32 in [−1, 1]: times π/2 the joints' angles, from the base on, each relative to
    the link before. Actions outside are clipped; what is said of a locked joint is without effect.

    ## Observation Space
    ``Box(2,)`` float32: the target's x and y; without a target ``Box(1,)``, always 0.

    ## Rewards
    The fitness, −std of the angles in radians; with a target, less ``distance_weight`` · distance /
    reach; for an arm that collides, less ``collision_cost`` · (1 + penetration / reach). The reach
    is the length of the whole arm. An arm collides if the centre line of a link enters an obstacle;
    the penetration is how deep the deepest does. Links may cross each other.

    ## Starting State
    The arm is stretched out along the x axis, which no pose depends on. Option of ``reset``:
    ``"target"``, ``(2,)``, a target for this episode.

    ## Episode End
    Terminated after one step.

    ## Information
    After a step: ``"end_point"`` ``(2,)`` float32; ``"descriptor"`` ``(2,)`` float32 in [0, 1], the
    end point / (2 · reach) + 0.5; with a target ``"distance"``; with obstacles ``"collision"`` and
    ``"penetration"``.

    ## Arguments
    - ``joints``: n.
    - ``link_lengths``: n lengths; 1/n each if empty.
    - ``locks``: pairs of a joint's index and the angle in radians that it is stuck at, or a mapping
      of these.
    - ``obstacles``: circles ``(x, y, radius)``, none of which covers the base.
    - ``target``: a point ``(x, y)``; ``"random"`` for one drawn at each reset, evenly from where an
      end may be (with few joints, some of it is out of their range); None for none.
    - ``distance_weight``: radians of std that a distance of the whole reach counts as.
    - ``collision_cost``: radians of std that a collision counts as.
    - ``render_mode``: ``"rgb_array"`` or ``"human"`` (in a window).

    ## Version History
    - v0: first version.

    Raises:
        ValueError: an argument is not as described, or the target is out of reach.
    """

    def __init__(
        self,
        *,
        joints: int = 20,
        link_lengths: Sequence[float] = (),
        locks: Locks = (),
        obstacles: Sequence[tuple[float, float, float]] = (),
        target: Target = None,
        distance_weight: float = 5.0,
        collision_cost: float = 2.0,
        render_mode: str | None = None,
    ) -> None:
        arguments: dict[str, Any] = {
            "joints": joints,
            "link_lengths": link_lengths,
            "locks": locks,
            "obstacles": obstacles,
            "target": target,
            "distance_weight": distance_weight,
            "collision_cost": collision_cost,
        }
        EzPickle.__init__(self, **arguments, render_mode=render_mode)
        arms = PlanarArmVectorEnv(
            1, **arguments, autoreset_mode=AutoresetMode.DISABLED, render_mode="rgb_array"
        )
        OneArmEnv.__init__(self, arms, render_mode=render_mode)
