"""Wrapper that observes an existing environment through a world model."""

from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import RecordConstructorArgs

from wmrl.core.action_spec import ActionSpec
from wmrl.core.validation import check_int
from wmrl.envs.frames.env import FrameEnv
from wmrl.envs.latent.game import LatentGame, PlaysLatentGame
from wmrl.envs.observations import ObservationName
from wmrl.envs.specs import NamingSpec
from wmrl.envs.world_model import WorldModel


class LatentObservation(PlaysLatentGame, gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Wrapper that observes an environment through a world model, as ``LatentEnv`` does.

    :class:`~wmrl.envs.latent.env.LatentEnv` creates its game itself; this wrapper takes a game that
    exists already. Observations, actions, rewards and the ends of episodes are as in ``LatentEnv``.
    Each step repeats an action for several frames of the game. Time limits of the game, such as
    Gymnasium's ``TimeLimit``, remain in effect.

    Args:
        env: a game of the world model's task, with all its wrappers. If the task takes its frames
            from ``env.render()``, the game needs ``render_mode="rgb_array"``.
        world_model: task, vision model, memory model and frame skip.
        observation: ``"embeddings"`` or ``"codes"``, as in
            :class:`~wmrl.envs.latent.env.LatentEnv`.
        frame_skip: number of steps of ``env`` per agent step; the world model's frame skip if None.
            Use 1 if ``env`` skips frames itself.

    Raises:
        ValueError: the action space of ``env`` is not that of the task, ``frame_skip`` is below 1,
            ``observation`` is an unknown format, or ``observation`` is ``"codes"`` and the vision
            model is not a VQ-VAE.

    Example:
        >>> import gymnasium as gym
        >>> from wmrl.envs import LatentObservation, WorldModel
        >>> world_model = WorldModel.open("car-racing", "car-racing-vae", "auto", device="cpu")
        >>> env = LatentObservation(gym.make("CarRacing-v3"), world_model)
        >>> observation, info = env.reset(seed=0)
        >>> observation.shape
        (288,)
        >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        >>> info["frames"]
        4
        >>> env.close()
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        world_model: WorldModel,
        *,
        observation: ObservationName = "embeddings",
        frame_skip: int | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(
            self,
            _disable_deepcopy=True,  # of the models
            world_model=world_model,
            observation=observation,
            frame_skip=frame_skip,
        )
        gym.Wrapper.__init__(self, env)
        task, skip = world_model.task, world_model.frame_skip
        if task.to_env_action is None:
            found = ActionSpec.of(env.action_space, name="env: action space")
            if found != task.actions:
                raise ValueError(
                    f"env: expected the action space {task.actions.space} of the task "
                    f"{task.name!r}, got {env.action_space}; wrap a game of this task"
                )
        own = skip if frame_skip is None else check_int("frame_skip", frame_skip, at_least=1)
        game = FrameEnv(
            task, base=env, frame_skip=own, max_frames=-(-task.max_frames * own // skip)
        )
        self._game = LatentGame(game, world_model, observation)
        self.observation_space = self._game.observation_space
        self.action_space = self._game.action_space
        self.metadata = {**env.metadata, "render_fps": self._game.fps}

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]  # as in Wrapper
        """Spec of the environment and its wrappers; None if the environment has no spec."""
        spec = super().spec
        return None if spec is None else NamingSpec.of(spec)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        return self._game.reset(seed=seed, options=options)
