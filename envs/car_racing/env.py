"""Gymnasium's CarRacing with a fast renderer of observations."""

import math
from typing import Any

import numpy as np
from gymnasium.envs.box2d import car_racing
from gymnasium.error import ResetNeeded
from gymnasium.utils import EzPickle

from wmrl.core.display import check_display
from wmrl.core.processes import follow_parent
from wmrl.core.validation import check_actions, check_flag, check_float, check_int, check_seed
from wmrl.envs.car_racing.renderer import StatePainter
from wmrl.envs.specs import SpecNamesModels


class CarRacing(SpecNamesModels, car_racing.CarRacing):
    """Gymnasium's ``CarRacing-v3`` with a renderer that is about 30 times faster.

    ## Description
    Gymnasium's own code computes physics, tracks, rewards and episode ends. Given the same calls,
    they are bit-identical to those of ``CarRacing-v3``. Only observations are different: a compiled
    scan-line rasterizer renders them. On the scale from 0 to 255, their pixels differ from
    Gymnasium's by 0.05 on average. ``render()`` still uses Gymnasium's renderer.

    The first reset compiles the rasterizer with numba, which takes a few seconds. numba caches the
    compiled code on disk, by default in the package's folder. If that folder is read-only, the
    cache is in the user's cache folder. The environment variable ``NUMBA_CACHE_DIR`` selects
    another folder.

    ## Action Space
    ``Box([-1, 0, 0], [1, 1, 1], float32)``: steering (-1 is left), gas, brake. With
    ``continuous=False``, the space is ``Discrete(5)``: nothing, right, left, gas, brake.

    ## Observation Space
    ``Box(0, 255, (96, 96, 3), uint8)``: the car and the road from above; the bottom 12 rows show
    the score, the speed, the spin of the four wheels, the steering angle and the gyroscope.

    ## Rewards
    -0.1 per frame, +1000/N when one of the track's N tiles is touched for the first time, and -100
    for leaving the playfield. With ``frame_skip``, a step returns the sum over its frames.

    ## Starting State
    The car is at rest on the first tile of a new random track. The camera zooms in during the first
    50 frames. ``reset(seed=s)`` starts the same episode regardless of earlier episodes.

    ## Episode End
    Terminates when the car finishes the lap or leaves the playfield. The lap is finished when all
    tiles have been touched, or when the car reaches the first tile again after touching more than
    the fraction ``lap_complete_percent`` of the tiles. The registered environment truncates after
    1000 calls of ``step``, which are ``1000 * frame_skip`` frames; pass ``max_episode_steps`` to
    ``gym.make`` for another limit.

    ## Arguments
    Gymnasium's arguments ``render_mode``, ``verbose``, ``lap_complete_percent``,
    ``domain_randomize`` and ``continuous`` are supported, and so is Gymnasium's option
    ``reset(options={"randomize": bool})``. There is one more argument:

    - ``frame_skip=1``: number of frames for which a step repeats its action. A step ends early if
      the episode ends. Only the last frame of a step is rendered. ``reset`` always advances the
      game by a single frame.

    ## Version History
    - v3: first version; it has the same number as Gymnasium's ``CarRacing-v3``.

    Raises:
        ValueError: ``frame_skip`` is less than 1, ``lap_complete_percent`` is not in [0, 1], or
            another argument has the wrong type.
        DisplayError: ``render_mode`` is ``"human"``, and there is no display.

    Example:
        >>> import gymnasium as gym
        >>> import numpy as np
        >>> import wmrl  # registers the environment
        >>> env = gym.make("vsg/CarRacing-v3", frame_skip=4)
        >>> observation, info = env.reset(seed=0)
        >>> observation.shape, observation.dtype
        ((96, 96, 3), dtype('uint8'))
        >>> gas = np.array([0.0, 1.0, 0.0], np.float32)
        >>> observation, reward, terminated, truncated, info = env.step(gas)
        >>> round(reward, 1)
        5.9
    """

    road: Any  # Box2D bodies, whose types are unknown
    _painter: StatePainter  # of the current track

    def __init__(
        self,
        render_mode: str | None = None,
        verbose: bool = False,
        lap_complete_percent: float = 0.95,
        domain_randomize: bool = False,
        continuous: bool = True,
        *,
        frame_skip: int = 1,
    ):
        follow_parent()
        frame_skip = check_int("frame_skip", frame_skip, at_least=1)
        check_float("lap_complete_percent", lap_complete_percent, at_least=0, at_most=1)
        for name, flag in (
            ("verbose", verbose),
            ("domain_randomize", domain_randomize),
            ("continuous", continuous),
        ):
            check_flag(name, flag)
        if render_mode == "human":
            check_display()
        gymnasium_arguments = (
            render_mode,
            verbose,
            lap_complete_percent,
            domain_randomize,
            continuous,
        )
        super().__init__(*gymnasium_arguments)
        EzPickle.__init__(self, *gymnasium_arguments, frame_skip=frame_skip)
        self.frame_skip = frame_skip
        self._advancing = False
        self._shown_score = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode on a new random track.

        Raises:
            ValueError: ``seed`` is not an integer from 0 to 2⁶³ − 1.
        """
        seed = None if seed is None else check_seed("seed", seed)
        observation, info = super().reset(seed=seed, options=options)
        return observation, info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Repeats an action for ``frame_skip`` frames and renders the last one.

        The step ends early if the episode ends.

        Raises:
            ValueError: a continuous action has the wrong shape, or contains NaN or infinity.
        """
        frames = 1 if action is None else self.frame_skip  # Gymnasium's reset passes None
        reward, terminated, truncated, info = self.advance(action, frames)
        self.state = self.observe()
        return self.state, reward, terminated, truncated, info

    def advance(self, action: Any, frames: int = 1) -> tuple[float, bool, bool, dict[str, Any]]:
        """Repeats an action for several frames, or until the episode ends, without rendering.

        Args:
            action: an element of the action space.
            frames: number of frames, at least 1.

        Returns:
            Sum of the rewards, and ``terminated``, ``truncated`` and ``info`` of the last frame.

        Raises:
            ValueError: ``frames`` is less than 1, or a continuous action has the wrong shape or
                contains NaN or infinity.
        """
        check_int("frames", frames, at_least=1)
        if self.continuous and action is not None:
            action = _checked_action(action)
        total = 0.0
        self._advancing = True
        try:
            for _ in range(frames):
                _, reward, terminated, truncated, info = super().step(action)
                total += reward
                if terminated or truncated:
                    break
        finally:
            self._advancing = False
        return total, terminated, truncated, info

    def observe(self) -> np.ndarray:
        """Renders the observation of the current state.

        Returns:
            A new array ``(96, 96, 3) uint8``.

        Raises:
            ResetNeeded: the environment has not been reset.
            ValueError: a position or speed of the car is NaN, infinite or too large to draw.
        """
        return self._draw_state(self._shown_score)

    def _render(self, mode: str) -> Any:
        if mode != "state_pixels":
            return super()._render(mode)
        if self._advancing:
            # Gymnasium renders a frame before it subtracts that frame's 0.1 from the score.
            self._shown_score = self.reward
            return None
        return self._draw_state(self.reward)

    def _draw_state(self, score: float) -> np.ndarray:
        car = self.car
        if car is None:
            raise ResetNeeded("observe: no episode is running; call reset() first")
        hull = car.hull
        x, y = hull.position
        poses = [(*wheel.position, wheel.angle, wheel.phase) for wheel in car.wheels]
        poses.append((x, y, hull.angle, 0.0))
        gauges = [math.hypot(*hull.linearVelocity), *(wheel.omega for wheel in car.wheels)]
        gauges += [car.wheels[0].joint.angle, hull.angularVelocity]
        return self._painter.paint(
            camera=self._camera(x, y, hull.angle),
            poses=np.array(poses),
            gauges=np.array(gauges),
            score=f"{score:04.0f}",
        )

    def _camera(self, x: float, y: float, angle: float) -> np.ndarray:
        """Returns the zoom, rotation and position of a camera that follows the car.

        Args:
            x: x coordinate of the car's hull in world units.
            y: y coordinate of the car's hull in world units.
            angle: angle of the car's hull in radians.

        Returns:
            The argument ``camera`` of :meth:`StatePainter.paint`, ``(4,) float64``.
        """
        far, near = 0.1 * car_racing.SCALE, car_racing.ZOOM * car_racing.SCALE
        zoom = far * max(1 - self.t, 0) + near * min(self.t, 1)
        cosine, sine = zoom * math.cos(angle), -zoom * math.sin(angle)
        column = car_racing.WINDOW_W / 2 - cosine * x + sine * y
        height = car_racing.WINDOW_H / 4 - sine * x - cosine * y
        return np.array([cosine, sine, column, height])

    def _create_track(self) -> bool:
        if not super()._create_track():  # type: ignore[no-untyped-call]
            return False
        self._painter = StatePainter(
            np.array([corners for corners, _ in self.road_poly]),
            road_rgb=np.array([color for _, color in self.road_poly]),
            ground_rgb=self.bg_color,
            grass_rgb=self.grass_color,
        )
        # Gymnasium recolors touched tiles in place, so tiles must share the painter's array.
        tiles = iter(self.road)
        for k, (corners, color) in enumerate(self.road_poly):
            if isinstance(color, np.ndarray):
                next(tiles).color = self._painter.road_rgb[k]
                self.road_poly[k] = corners, self._painter.road_rgb[k]
        return True


def _checked_action(action: Any) -> np.ndarray:
    """Checks a continuous action, and returns it as an array with unchanged values and dtype.

    Raises:
        ValueError: the action has the wrong shape, or contains NaN or infinity.
    """
    # A fast path, because the general check would take 2 % of the time of a frame.
    usual = isinstance(action, np.ndarray) and action.shape == (3,) and action.dtype.kind == "f"
    if not (usual and all(map(math.isfinite, action.tolist()))):
        check_actions("action", action, (3,), low=-1.0, high=1.0, each="steering, gas and brake")
    return np.asarray(action)
