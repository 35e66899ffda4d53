"""Vector environment of planar arms that take one pose per episode."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from wmrl.core.processes import follow_parent
from wmrl.core.validation import check_int
from wmrl.envs.autoreset import (
    ResetOptions,
    final_observations,
    joint_seed,
    options_of_each,
    reset_mask,
)
from wmrl.envs.planar_arm.arm import Arm, ArmEvaluation
from wmrl.envs.planar_arm.reward import ArmReward
from wmrl.envs.planar_arm.targets import ArmTargets, Target
from wmrl.envs.planar_arm.validation import Locks, clip_action
from wmrl.envs.rendering.window import check_render_mode
from wmrl.envs.specs import SpecNamesModels


class PlanarArmVectorEnv(SpecNamesModels, VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Vector environment of N planar arms, which are evaluated as one batch.

    ## Description
    This is the vector version of :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`. A step ends all
    running episodes. Therefore, arms take poses in every step with the autoreset mode SAME_STEP,
    but only in every second step with NEXT_STEP.

    ## Action Space
    ``Box(N, n)`` float32 in [−1, 1].

    ## Observation Space
    ``Box(N, 2)`` float32, the targets. Without targets, ``Box(N, 1)`` float32, always 0.

    ## Rewards
    As in :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`. An arm gets the reward 0 in two kinds of
    steps: with NEXT_STEP, in a step that resets the arm; with DISABLED, in a step in which the arm
    waits for a reset.

    ## Starting State
    The arms are stretched along the x axis. All arms share one random number generator for their
    targets. ``reset`` therefore takes one seed; N seeds are hashed to one. ``reset`` has two
    options: ``"target"``, ``(2,)`` or ``(N, 2)``, sets the targets of the new episodes.
    ``"reset_mask"``, ``(N,) bool``, selects the arms to reset. Alternatively, ``options`` is a
    sequence of N dictionaries, one per arm, each with the arm's own ``"target"``, ``(2,)``.

    ## Episode End
    An episode terminates after one step. With the autoreset mode DISABLED, the arm then idles until
    it is reset.

    ## Information
    The info contains the arrays ``"end_point"`` and ``"descriptor"``, ``(N, 2)``. With targets, it
    contains ``"distance"``, ``(N,)``. With obstacles, it contains ``"collision"`` and
    ``"penetration"``, ``(N,)``. For each array, the info also contains a mask as in Gymnasium, such
    as ``"_distance"``. With SAME_STEP, the arrays and masks are in ``"final_info"``.

    ## Arguments
    - ``num_envs``: number N of arms.
    - ``autoreset_mode``: one of Gymnasium's three autoreset modes.
    - ``render_mode``: ``"rgb_array"`` or None.
    - All other arguments: as in :class:`~wmrl.envs.planar_arm.env.PlanarArmEnv`.

    ## Version History
    - v0: first version.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 -- Gymnasium's own attribute
        "render_modes": ["rgb_array"],
        "render_fps": 2,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    options_per_env = True  # ``reset`` takes a sequence of options

    def __init__(
        self,
        num_envs: int = 1,
        *,
        num_joints: int = 20,
        link_lengths: Sequence[float] = (),
        locks: Locks = (),
        obstacles: Sequence[tuple[float, float, float]] = (),
        target: Target = None,
        distance_weight: float = 5.0,
        collision_cost: float = 2.0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        follow_parent()
        num_envs = check_int("num_envs", num_envs, at_least=1)
        self.arm = Arm(
            num_joints=num_joints, link_lengths=link_lengths, locks=locks, obstacles=obstacles
        )
        self.num_envs = num_envs
        self.render_mode = check_render_mode(render_mode, self.metadata)
        self._source = ArmTargets(self.arm, target)
        self._reward = ArmReward(distance_weight=distance_weight, collision_cost=collision_cost)
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self._mode}
        self.single_action_space = spaces.Box(-1.0, 1.0, (self.arm.num_joints,), np.float32)
        self.single_observation_space = self._source.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._targets = np.zeros((num_envs, *self.single_observation_space.shape))
        self._over: np.ndarray | None = None  # None until the first reset
        # With SAME_STEP, a step also resets; render must still show the state before the reset.
        self._rendered_poses = np.zeros((num_envs, self.arm.num_joints), np.float32)
        self._rendered_targets = self._targets.copy()

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: ResetOptions = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts episodes of all arms, or of the arms that ``options["reset_mask"]`` selects.

        Raises:
            ResetNeeded: the first reset does not select all arms.
            TypeError: an option has the wrong type.
            ValueError: an option has the wrong shape, or a target is out of reach.
        """
        mask = reset_mask(options, self.num_envs)
        each = options_of_each(options, self.num_envs)
        if not mask.all():
            self._idle()
        super().reset(seed=joint_seed(seed, self.num_envs))
        if each is None:
            assert options is None or isinstance(options, dict)
            self._start(mask, options or {})
        else:
            self._start(mask, {})
            for index, one in enumerate(each):
                if one.get("target") is not None:
                    self._start(np.arange(self.num_envs) == index, one)
        return self._observations(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Moves each arm to the pose that its action describes, and ends the arm's episode.

        Raises:
            ResetNeeded: the environment has not been reset.
            ValueError: ``actions`` has the wrong shape or invalid values.
        """
        idle = self._idle()
        ran = ~idle
        poses = self._poses(self.check_actions(actions, self.action_space.shape))
        evaluation = self.arm.evaluate(poses)
        distances = self._distances(evaluation, self._targets)
        rewards = self._reward.rewards(evaluation, reach=self.arm.reach, distances=distances)
        rewards[idle] = 0.0
        infos = _masked(self._info_arrays(poses, evaluation, distances), ran)
        self._rendered_poses[ran], self._rendered_targets[ran] = poses[ran], self._targets[ran]
        terminated = ran
        if self._mode is AutoresetMode.SAME_STEP:
            final = final_observations(self._observations(), ran)
            infos = {"final_obs": final, "final_info": infos}
            infos |= {"_final_obs": ran, "_final_info": ran.copy()}
            self._targets = self._source.next(
                self.num_envs, {}, indices=np.flatnonzero(ran), rng=self.np_random
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

    def check_actions(self, actions: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
        """Checks actions, and clips them to [−1, 1].

        Args:
            actions: actions of one arm or of all arms.
            shape: expected shape of the actions.

        Raises:
            ValueError: the shape is wrong, or a number is not finite.
        """
        return clip_action(actions, shape, each="one number per joint", argument="num_joints")

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Draws the arms in their latest poses.

        Returns:
            N images ``(480, 480, 3) uint8``, or None without a render mode.

        Raises:
            ResetNeeded: the environment has not been reset.
        """
        if self.render_mode is None:
            return None
        self._idle()
        from wmrl.envs.planar_arm.rendering import draw_arm

        evaluation = self.arm.evaluate(self._rendered_poses)
        distances = self._distances(evaluation, self._rendered_targets)
        positions = self.arm.joint_positions(self._rendered_poses)
        return tuple(
            draw_arm(
                self.arm,
                positions[index],
                target=None if distances is None else self._rendered_targets[index],
                collides=not evaluation.feasible[index],
                caption=_caption(evaluation, distances, index),
            )
            for index in range(self.num_envs)
        )

    def _idle(self) -> np.ndarray:
        """Returns a mask ``(N,) bool`` that is True for arms that wait for a reset.

        Raises:
            ResetNeeded: the environment has not been reset.
        """
        if self._over is None:
            raise ResetNeeded("arms: expected a reset of all arms, got none; call reset() first")
        return self._over

    def _start(self, mask: np.ndarray, options: dict[str, Any]) -> None:
        indices = np.flatnonzero(mask)
        targets = self._targets.copy()
        targets[indices] = self._source.next(
            self.num_envs, options, indices=indices, rng=self.np_random
        )
        self._targets = targets
        self._rendered_poses[indices], self._rendered_targets[indices] = 0.0, targets[indices]
        self._over = np.zeros_like(mask) if self._over is None else self._over & ~mask

    def _observations(self) -> np.ndarray:
        observations: np.ndarray = self._targets.astype(np.float32)
        return observations

    def _distances(self, evaluation: ArmEvaluation, targets: np.ndarray) -> np.ndarray | None:
        """Returns the distances of the end points from the targets; None without targets.

        Args:
            evaluation: evaluation of the poses of all N arms.
            targets: ``(N, 2)``, x and y of the targets; ignored in an environment without targets.

        Returns:
            ``(N,) float64`` or None.
        """
        if self._source.target is None:
            return None
        distances: np.ndarray = np.linalg.norm(evaluation.end_points - targets, axis=1)
        return distances

    def _poses(self, actions: np.ndarray) -> np.ndarray:
        """Converts actions, which must have been checked, to poses ``(N, n) float32``."""
        return actions

    def _info_arrays(
        self, poses: np.ndarray, evaluation: ArmEvaluation, distances: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Returns the info as a dictionary of arrays with one entry per arm."""
        arrays = {"end_point": evaluation.end_points, "descriptor": evaluation.descriptors}
        if distances is not None:
            arrays["distance"] = distances
        if self.arm.obstacles:
            arrays["collision"] = ~evaluation.feasible
            arrays["penetration"] = evaluation.penetration.astype(np.float64)
        return arrays


def _masked(values: Mapping[str, np.ndarray], ran: np.ndarray) -> dict[str, Any]:
    """Converts arrays to an info dictionary of Gymnasium, with a mask for each array.

    Args:
        values: arrays by name, each with one entry per arm.
        ran: ``(N,) bool``, True for arms that took a step. The values of other arms are set to 0.
    """
    if not ran.any():
        return {}
    infos: dict[str, Any] = {}
    for name, value in values.items():
        value[~ran] = 0
        infos |= {name: value, f"_{name}": ran.copy()}
    return infos


def _caption(evaluation: ArmEvaluation, distances: np.ndarray | None, index: int) -> str:
    parts = [f"std {abs(evaluation.fitness[index]):.4f}"]
    if distances is not None:
        parts.append(f"distance {distances[index]:.4f}")
    if not evaluation.feasible[index]:
        parts.append(f"collides, {evaluation.penetration[index]:.4f} deep")
    return "   ".join(parts)
