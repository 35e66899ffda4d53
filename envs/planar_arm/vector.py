"""N planar arms as one batched environment."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from wmrl.envs.autoreset import final_observations, joint_seed, reset_mask
from wmrl.envs.planar_arm.arm import Arm, ArmEvaluation
from wmrl.envs.planar_arm.reward import ArmReward
from wmrl.envs.planar_arm.targets import ArmTargets, Target
from wmrl.envs.planar_arm.validation import Locks, clipped_action
from wmrl.envs.rendering.window import checked_render_mode


class PlanarArmVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N planar arms, evaluated as one batch.

    ## Description
    What :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv` is, N times. Every step ends all episodes
    that run, so that SAME_STEP evaluates N arms in each step, and NEXT_STEP in every other.

    ## Action Space
    ``Box(N, n)`` float32 in [−1, 1].

    ## Observation Space
    ``Box(N, 2)`` float32, the targets; without a target ``Box(N, 1)``, zeros.

    ## Rewards
    As :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`; 0 for an arm that is reset or idle instead.

    ## Starting State
    ``reset(seed=...)`` takes one seed for the batch, or N seeds that are hashed together: random
    targets come from one stream. Options: ``"target"``, ``(2,)`` or ``(N, 2)``; ``"reset_mask"``,
    ``(N,) bool``, the arms to reset.

    ## Episode End
    Terminated after one step. With ``autoreset_mode`` DISABLED an arm that is over idles until a
    reset names it.

    ## Information
    ``"end_point"`` and ``"descriptor"`` ``(N, 2)``, and where they apply ``"distance"``,
    ``"collision"`` and ``"penetration"`` ``(N,)``, each with Gymnasium's mask (``"_distance"``).
    With SAME_STEP they are in ``"final_info"``.

    ## Arguments
    - ``num_envs``: N.
    - ``autoreset_mode``: one of Gymnasium's three.
    - ``render_mode``: ``"rgb_array"`` or None.
    - The others are those of :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`.

    ## Version History
    - v0: first version.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 -- Gymnasium's own attribute
        "render_modes": ["rgb_array"],
        "render_fps": 2,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        joints: int = 20,
        link_lengths: Sequence[float] = (),
        locks: Locks = (),
        obstacles: Sequence[tuple[float, float, float]] = (),
        target: Target = None,
        distance_weight: float = 5.0,
        collision_cost: float = 2.0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs: expected at least 1, got {num_envs}")
        self.arm = Arm(joints=joints, link_lengths=link_lengths, locks=locks, obstacles=obstacles)
        self.num_envs = num_envs
        self.render_mode = checked_render_mode(render_mode, self.metadata)
        self._source = ArmTargets(self.arm, target)
        self._reward = ArmReward(distance_weight=distance_weight, collision_cost=collision_cost)
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self._mode}
        self.single_action_space = spaces.Box(-1.0, 1.0, (self.arm.joints,), np.float32)
        self.single_observation_space = self._source.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._targets = np.zeros((num_envs, *self.single_observation_space.shape))
        self._over: np.ndarray | None = None  # until the first reset
        # What is drawn: it outlasts a reset in the step that ended the episode.
        self._posed = np.zeros((num_envs, self.arm.joints), np.float32)
        self._aims = self._targets.copy()

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Stretches out all arms, or those of ``options["reset_mask"]``, and sets their targets.

        Raises:
            ResetNeeded: some arms are to be reset before all were.
            TypeError, ValueError: an option is not as it should be.
        """
        options = options or {}
        mask = reset_mask(options, self.num_envs)
        if not mask.all():
            self._idle()
        super().reset(seed=joint_seed(seed))
        self._start(mask, options)
        return self._observations(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes on a pose with every arm, which ends its episode.

        Raises:
            ResetNeeded: there was no reset yet.
            ValueError: ``actions`` is not ``(N, n)``, or has a number that is not finite.
        """
        idle = self._idle()
        ran = ~idle
        poses = self._poses(self.checked(actions, self.action_space.shape))
        found = self.arm.evaluate(poses)
        distances = self._distances(found, self._targets)
        rewards = self._reward.rewards(found, reach=self.arm.reach, distances=distances)
        rewards[idle] = 0.0
        infos = _masked(self._known(poses, found, distances), ran)
        self._posed[ran], self._aims[ran] = poses[ran], self._targets[ran]
        terminated = ran
        if self._mode is AutoresetMode.SAME_STEP:
            final = final_observations(self._observations(), ran)
            infos = {"final_obs": final, "final_info": infos}
            infos |= {"_final_obs": ran, "_final_info": ran.copy()}
            self._targets = self._source.next(
                self.num_envs, {}, rows=np.flatnonzero(ran), rng=self.np_random
            )
        elif self._mode is AutoresetMode.NEXT_STEP:
            if idle.any():
                self._start(idle, {})
            self._over = ran.copy()
        else:
            terminated = np.ones_like(ran)
            self._over = terminated.copy()
        truncated = np.zeros_like(ran)
        return self._observations(), rewards, terminated.copy(), truncated, infos

    def checked(self, actions: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
        """Actions as they are taken: clipped into the action space's range.

        Args:
            actions: of one arm or of all.
            shape: the shape expected.

        Raises:
            ValueError: the shape is another, or a number is not finite.
        """
        return clipped_action(actions, shape, each="one number a joint", argument="joints")

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The arms as they were last posed: N pictures, or None without a render mode.

        Raises:
            ResetNeeded: there was no reset yet.
        """
        if self.render_mode is None:
            return None
        self._idle()
        from wmrl.envs.planar_arm.rendering import draw_arm

        found = self.arm.evaluate(self._posed)
        distances = self._distances(found, self._aims)
        positions = self.arm.joint_positions(self._posed)
        return tuple(
            draw_arm(
                self.arm,
                positions[row],
                target=None if distances is None else self._aims[row],
                collides=not found.feasible[row],
                caption=_caption(found, distances, row),
            )
            for row in range(self.num_envs)
        )

    def _idle(self) -> np.ndarray:
        """Which arms wait for a reset, ``(N,) bool``."""
        if self._over is None:
            raise ResetNeeded("no arm has been set up; call reset() first")
        return self._over

    def _start(self, mask: np.ndarray, options: dict[str, Any]) -> None:
        rows = np.flatnonzero(mask)
        targets = self._targets.copy()
        targets[rows] = self._source.next(self.num_envs, options, rows=rows, rng=self.np_random)
        self._targets = targets
        self._posed[rows], self._aims[rows] = 0.0, targets[rows]
        self._over = np.zeros_like(mask) if self._over is None else self._over & ~mask

    def _observations(self) -> np.ndarray:
        observations: np.ndarray = self._targets.astype(np.float32)
        return observations

    def _distances(self, found: ArmEvaluation, targets: np.ndarray) -> np.ndarray | None:
        """How far the ends are from their targets, ``(N,) float64``."""
        if self._source.target is None:
            return None
        distances: np.ndarray = np.linalg.norm(found.end_points - targets, axis=1)
        return distances

    def _poses(self, actions: np.ndarray) -> np.ndarray:
        """Poses ``(N, n) float32`` of actions that were checked."""
        return actions

    def _known(
        self, poses: np.ndarray, found: ArmEvaluation, distances: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """What is told of the arms, by name: N rows each."""
        known = {"end_point": found.end_points, "descriptor": found.descriptors}
        if distances is not None:
            known["distance"] = distances
        if self.arm.obstacles:
            known["collision"] = ~found.feasible
            known["penetration"] = found.penetration.astype(np.float64)
        return known


def _masked(values: Mapping[str, np.ndarray], ran: np.ndarray) -> dict[str, Any]:
    """What is known of the arms that ran, ``(N,) bool``, in Gymnasium's form."""
    if not ran.any():
        return {}
    infos: dict[str, Any] = {}
    for name, value in values.items():
        value[~ran] = 0
        infos |= {name: value, f"_{name}": ran.copy()}
    return infos


def _caption(found: ArmEvaluation, distances: np.ndarray | None, row: int) -> str:
    parts = [f"std {abs(found.fitness[row]):.4f}"]
    if distances is not None:
        parts.append(f"distance {distances[row]:.4f}")
    if not found.feasible[row]:
        parts.append(f"collides, {found.penetration[row]:.4f} deep")
    return "   ".join(parts)
