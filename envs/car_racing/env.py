"""Gymnasium's CarRacing with a fast drawing of the state."""

import math
from typing import Any

import numpy as np
from gymnasium.envs.box2d import car_racing
from gymnasium.error import ResetNeeded
from gymnasium.utils import EzPickle

from wmrl.envs.car_racing.renderer import StatePainter


class CarRacing(car_racing.CarRacing):
    """Gymnasium's ``CarRacing-v3``, some thirty times as fast.

    ## Description
    Physics, tracks, rewards and endings are Gymnasium's own code, equal bit for bit under the same
    calls. Only the state is drawn anew, by a compiled scan-line fill with exact coverage along
    rows; its pixels differ from Gymnasium's by 0.05 of 255 levels on average. ``render()`` is
    Gymnasium's own.

    Drawing is compiled when an environment is first reset (some seconds), and kept on disk by
    numba: beside the package or, if that is read-only, in the user's cache folder or the folder
    that the environment variable ``NUMBA_CACHE_DIR`` names.

    ## Action Space
    ``Box([-1, 0, 0], [1, 1, 1], float32)``: steering (-1 is left), gas, brake. With
    ``continuous=False`` ``Discrete(5)``: nothing, right, left, gas, brake.

    ## Observation Space
    ``Box(0, 255, (96, 96, 3), uint8)``: the car and the road from above; the bottom 12 rows show
    score, speed, spin of the four wheels, steering and gyroscope.

    ## Rewards
    -0.1 a frame and +1000/N for each of the track's N tiles when first touched; -100 for leaving
    the playfield. With ``frame_skip`` a step returns the sum over its frames.

    ## Starting State
    At rest on the first tile of a new random track. The camera zooms in during 50 frames.
    ``reset(seed=s)`` starts the same episode in a fresh environment and after other episodes.

    ## Episode End
    Terminates when the last tile is touched or the car leaves the playfield. As registered,
    truncated after 1000 calls of ``step``, which are ``1000 * frame_skip`` frames: pass
    ``max_episode_steps`` to ``gym.make`` for another limit.

    ## Arguments
    Those of Gymnasium: ``render_mode``, ``verbose``, ``lap_complete_percent``,
    ``domain_randomize``, ``continuous``; also ``reset(options={"randomize": bool})``. And:

    * ``frame_skip=1``: frames that a step repeats its action for. It stops at the episode's end,
      and draws the last frame only. ``reset`` advances one frame, whatever ``frame_skip`` is.

    ## Version History
    - v3: drawing of Gymnasium's v3.

    Raises:
        ValueError: ``frame_skip`` is less than 1.
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
        if frame_skip < 1:
            raise ValueError(f"frame_skip: expected at least 1, got {frame_skip}")
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

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance ``frame_skip`` frames and draw the last one."""
        frames = 1 if action is None else self.frame_skip  # None comes from reset
        reward, terminated, truncated, info = self.advance(action, frames)
        self.state = self.observe()
        return self.state, reward, terminated, truncated, info

    def advance(self, action: Any, frames: int = 1) -> tuple[float, bool, bool, dict[str, Any]]:
        """Repeat an action for some frames or until the episode ends, and draw no state.

        Args:
            action: an element of the action space.
            frames: how many frames, at least 1.

        Returns:
            The sum of rewards, and terminated, truncated and info of the last frame.

        Raises:
            ValueError: ``frames`` is less than 1.
        """
        if frames < 1:
            raise ValueError(f"frames: expected at least 1, got {frames}")
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
        """The current state as a new array ``(96, 96, 3) uint8``, as ``step`` returns it.

        Raises:
            ResetNeeded: there is no episode yet.
        """
        return self._draw_state(self._shown_score)

    def _render(self, mode: str) -> Any:
        if mode != "state_pixels":
            return super()._render(mode)
        if self._advancing:
            # Gymnasium draws before it takes off a frame's 0.1, so this is the score to show.
            self._shown_score = self.reward
            return None
        return self._draw_state(self.reward)

    def _draw_state(self, score: float) -> np.ndarray:
        car = self.car
        if car is None:
            raise ResetNeeded("observe: there is nothing to see before the first reset()")
        hull = car.hull
        x, y = hull.position
        poses = [(*wheel.position, wheel.angle, wheel.phase) for wheel in car.wheels]
        poses.append((x, y, hull.angle, 0.0))
        gauges = [math.hypot(*hull.linearVelocity), *(wheel.omega for wheel in car.wheels)]
        gauges += [car.wheels[0].joint.angle, hull.angularVelocity]
        return self._painter.paint(
            view=self._view(x, y, hull.angle),
            poses=np.array(poses),
            gauges=np.array(gauges),
            score=f"{score:04.0f}",
        )

    def _view(self, x: float, y: float, angle: float) -> np.ndarray:
        """The camera that follows a hull in this place: see :meth:`StatePainter.paint`."""
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
            road_rgb=np.array([colour for _, colour in self.road_poly]),
            ground_rgb=self.bg_color,
            grass_rgb=self.grass_color,
        )
        # Touching a tile changes its colour in place: let that happen in the painter's array.
        tiles = iter(self.road)
        for k, (corners, colour) in enumerate(self.road_poly):
            if isinstance(colour, np.ndarray):
                next(tiles).color = self._painter.road_rgb[k]
                self.road_poly[k] = corners, self._painter.road_rgb[k]
        return True
