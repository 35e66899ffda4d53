"""Dream that runs beside the game in a video."""

from typing import Any

import numpy as np

from wmrl.agents.agent import Agent, State
from wmrl.agents.video.config import VideoConfig
from wmrl.core.seeding import integer_seed
from wmrl.dream import DreamState
from wmrl.envs.dream.env import DreamEnv
from wmrl.envs.rendering.panels import VIOLET, Panel
from wmrl.envs.world_model import WorldModel


class DreamCompanion:
    """Dream that starts in the state of the game and then runs without the game.

    The dream restarts from the state of the game every ``dream_agent_steps`` agent steps.

    Args:
        agent: agent that acts in game and dream.
        world_model: world model of the agent, with a memory model.
        config: contents of the video.

    Attributes:
        score: return of the current dream so far.
        real_score: return of the game over the same agent steps.
    """

    def __init__(self, agent: Agent, world_model: WorldModel, config: VideoConfig) -> None:
        self.score = self.real_score = 0.0
        self._agent, self._world_model, self._config = agent, world_model, config
        assert world_model.memory is not None
        self._env = DreamEnv(
            task=world_model.task,
            vision=world_model.vision,
            memory=world_model.memory,
            temperature=config.temperature,
            observation=agent.observation,
        )
        self._count = 0  # number of dreams so far
        self._age = 0  # agent steps of the game since the last start
        self._length = 0  # agent steps of the current dream
        self._running = False
        self._observation: Any = None
        self._state: State | None = None
        self._action = world_model.task.actions.neutral()
        self._reward = 0.0

    def choose_action(
        self, real: DreamState, agent_state: State | None, action: np.ndarray
    ) -> None:
        """Starts or restarts the dream when due, then chooses the next action in the dream.

        Args:
            real: current latent and memory state of the game.
            agent_state: state of the agent after it has chosen ``action``.
            action: action of the agent in the game.
        """
        if self._count == 0 or self._age >= self._config.dream_agent_steps:
            self._start(real)
            # Dream and game are in the same state, in which the agent has chosen this action.
            self._action, self._state = action, agent_state
        elif self._config.same_actions:
            self._action = action
        elif self._running:
            self._action, self._state = act(
                self._agent,
                self._world_model,
                self._observation,
                self._state,
                deterministic=self._config.deterministic,
            )

    def _start(self, real: DreamState) -> None:
        seed = integer_seed(self._config.seed, "film", self._count)
        self._observation, _ = self._env.reset(seed=seed, options={"state": real})
        self._count += 1
        self._age = self._length = 0
        self.score = self.real_score = self._reward = 0.0
        self._running = True

    def step(self, real_reward: float) -> bool:
        """Advances the dream by one agent step, if the dream is running.

        Args:
            real_reward: reward of the same agent step in the game.

        Returns:
            True if this step completed the dream: either the dream ended, or it is due to restart.
        """
        if self._count == 0:
            return False
        self._age += 1
        if not self._running:
            return False
        self._observation, self._reward, terminated, _, _ = self._env.step(self._action)
        self._length += 1
        self.score += self._reward
        self.real_score += real_reward
        self._running = not terminated
        return terminated or self._age >= self._config.dream_agent_steps

    def panel(self, reconstruction: np.ndarray) -> Panel:
        """Returns the panel that shows the dream in the video.

        Args:
            reconstruction: ``(H, W, C) uint8``, reconstruction of the game's frame. The panel shows
                this image until the first dream starts.
        """
        if self._count == 0:
            return Panel(
                label="dream",
                image=reconstruction,
                note="not started yet",
                color=VIOLET,
                dimmed=True,
            )
        latent = self._env.state.latent.cpu().numpy()
        progress = f"agent step {self._length} of {self._config.dream_agent_steps}"
        return Panel(
            label="dream",
            image=self._world_model.vision.decode_numpy(latent)[0],
            note=progress if self._running else f"ended at agent step {self._length}",
            action=self._world_model.task.actions.encode(self._action) if self._running else None,
            metrics=[
                ("reward", f"{self._reward:+.1f}"),
                ("return", f"{self.score:.1f}"),
                ("real return", f"{self.real_score:.1f}"),
            ],
            color=VIOLET,
            dimmed=not self._running,
        )


def act(
    agent: Agent,
    world_model: WorldModel,
    observation: Any,
    state: State | None,
    *,
    deterministic: bool,
) -> tuple[np.ndarray, State | None]:
    """Returns an agent's action, clipped to the action space, and the agent's next state."""
    action, state = agent.predict(observation, state, deterministic=deterministic)
    return world_model.check_actions(action, ()), state


def bar_names(world_model: WorldModel) -> tuple[str, ...]:
    """Returns the names of the bars that show an encoded action below a panel."""
    return world_model.task.action_names or tuple(
        f"a{i}" for i in range(world_model.task.action_dim)
    )
