"""Collection of rollouts from many games in parallel."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from gymnasium.vector import AutoresetMode

from wmrl.agents.agent import Agent, load_agent
from wmrl.agents.rollouts.exploration import (
    AutoregressiveNoise,
    ExplorationPolicy,
    NoisyAgent,
    RepeatedRandom,
    Unperturbed,
)
from wmrl.agents.rollouts.frame_agent import FrameAgent
from wmrl.agents.rollouts.frame_policy import FramePolicy
from wmrl.agents.rollouts.function_policy import FrameFunction, FunctionPolicy
from wmrl.agents.rollouts.recorder import Collector
from wmrl.agents.rollouts.scheduler import Schedule
from wmrl.core.validation import check_int, check_seed
from wmrl.data.store import Episode, RolloutStore, StoreMetadata
from wmrl.envs.frames.vector import FrameVectorEnv
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.storage.files import check_writable
from wmrl.training.progress import progress_bar

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

EXPLORATION_POLICIES: dict[str, type[ExplorationPolicy]] = {
    "repeated": RepeatedRandom,
    "autoregressive": AutoregressiveNoise,
}
"""Exploration policies that do not need an agent, by name."""

# Number of writer threads and of episodes waiting to be written. Writing mostly waits for the disk,
# so that a few threads keep up with the games.
_WRITERS, _MAX_PENDING = 4, 8


def collect(
    task: Task | str,
    path: str | Path,
    *,
    policy: "ExplorationPolicy | Agent | BaseAlgorithm | FrameFunction | str | None" = None,
    episodes: int | None = None,
    frames: int | None = None,
    frame_limit: int | None = None,
    seed: int = 0,
    noise: NoisyAgent | None = None,
    world_model: WorldModel | None = None,
    num_envs: int = 16,
    workers: int | None = None,
    base: str | None = None,
    frame_skip: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> RolloutStore:
    """Records episodes into a rollout store, up to a total number of episodes or frames.

    Each episode depends only on the task, the policy, the seed and the index of the episode. The
    store's hash is therefore the same for any number of workers, and for a collection that was
    interrupted and resumed. A call with more ``episodes`` or ``frames`` continues the collection of
    an earlier call. If the folder of a damaged episode is deleted, the next call collects this
    episode again. If a collection fails before its first episode is written, no store is left
    behind. RAM holds only the ``num_envs`` episodes in progress and a few finished episodes that
    are not written yet.

    Args:
        task: task, or a value that :func:`~wmrl.envs.tasks.registry.find_task` accepts, such as the
            name of a task. If ``task.patience`` is a number, an episode ends early after this
            number of successive base frames without a positive reward.
        path: folder of the store, created if it does not exist.
        policy: one of

            - an exploration policy, or the name of one (``"autoregressive"`` or ``"repeated"``);
            - None, which stands for ``"autoregressive"`` if the task's actions are continuous, and
              for ``"repeated"`` if they are discrete;
            - an agent, or its shipped name or path;
            - a model of Stable-Baselines3 that was trained on the frames of the task, as
              :class:`~wmrl.envs.frames.env.FrameEnv` returns them. It acts deterministically, apart
              from ``noise``. For a model with other observations, use
              :class:`~wmrl.agents.rollouts.wrapper.RecordRollouts`;
            - a function ``policy(frame) -> action``, which is called once per agent step of each
              game. ``frame`` is an array ``(H, W, C) uint8``, or a stack ``(H, W, C · K) uint8`` if
              the task stacks K frames, and ``action`` is an action of the task. The games are
              played in parallel, so that successive calls are for different games. The store refers
              to the function by its name. Two calls of ``collect`` record the same episodes only if
              the function depends on nothing but its argument.
        episodes: total number of episodes; give either this or ``frames``.
        frames: total number of base frames. Once this many have been played, no further episode
            begins, but episodes in progress are finished. The store may therefore contain more than
            ``frames`` base frames.
        frame_limit: maximum total number of base frames, which is never exceeded; None for no
            limit. All games get equal shares of the limit. When the shares are used up, episodes in
            progress are cut off and recorded as truncated. These episodes are not played on if the
            collection is continued with a higher limit.
        seed: root seed.
        noise: noise that is added to the actions of an agent, a model or a function. If None,
            ``NoisyAgent()`` for agents and models, and no noise for functions. If ``policy`` is an
            exploration policy, this argument has no effect.
        world_model: world model of the agent; if None, the one to which the agent refers.
        num_envs: number of games that run in parallel. With an agent, it is also the batch size of
            the vision model, which may affect the last bits of the results.
        workers: number of worker processes; see
            :class:`~wmrl.envs.frames.vector.FrameVectorEnv`.
        base: id of the base environment; the task's own if None.
        frame_skip: number of base frames per agent step; the task's if None. With an agent, this
            argument is ignored, and the frame skip of the agent's world model is used.
        device: device of the models that ``collect`` itself loads: the agent if ``policy`` is its
            name or path, and the agent's world model if ``world_model`` is None.
        progress: True to show a progress bar.

    Returns:
        The store, which is open for writing.

    Raises:
        ValueError: neither or both of ``episodes`` and ``frames`` are given, a number is out of
            range, ``frame_limit`` is too low for one agent step of each game, or the policy does
            not fit the task or its frames.
        StoreError: the store contains episodes of another collection, or there is something other
            than a store at ``path``.
        ArtifactError: the agent or its world model cannot be loaded.

    Example:
        >>> from wmrl.agents import collect
        >>> store = collect(
        ...     "car-racing", "runs/rollouts", policy="repeated", episodes=1, num_envs=1,
        ...     workers=0, progress=False,
        ... )
        >>> len(store), store.metadata.policy["name"]
        (1, 'repeated')
        >>> store.episode(0).frames.shape[1:]
        (64, 64, 3)
    """
    task = find_task(task)
    seed = check_seed("seed", seed)
    check_int("num_envs", num_envs, at_least=1)
    total = _check_goal(episodes, frames)
    exploration, player = _policies(task, policy, noise, world_model, num_envs, device)
    if isinstance(player, FrameAgent):
        frame_skip = player.world_model.frame_skip
    elif frame_skip is None:
        frame_skip = task.frame_skip
    slot_limit = None
    if frame_limit is not None:
        check_int("frame_limit", frame_limit, at_least=num_envs * frame_skip)
        slot_limit = frame_limit // (num_envs * frame_skip)
    about = {**exploration.describe(), "seed": seed, "base": base or task.env_id}
    if player is not None:
        about |= player.describe()
    store = _open_store(path, task, frame_skip, about)
    schedule = Schedule(
        num_envs,
        known={summary.index: summary.length for summary in store.summaries},
        episodes=episodes,
        agent_steps=None if frames is None else -(-frames // frame_skip),
        slot_limit=slot_limit,
    )
    fresh = schedule.begin()
    if not schedule.live.any():
        return store  # without starting the games
    with (
        _discarding_unused(store),
        progress_bar(
            "collect",
            total=total,
            done=schedule.over if frames is None else schedule.taken * frame_skip,
            show=progress,
            unit="episodes" if frames is None else "frames",
        ) as advance,
        _writing(store) as write,
        closing(
            FrameVectorEnv(
                num_envs,
                task=task,
                base=base,
                frame_skip=frame_skip,
                patience=task.patience,
                workers=workers,
                autoreset_mode=AutoresetMode.DISABLED,
            )
        ) as env,
    ):
        collector = Collector(env, exploration, player, seed, write)
        while schedule.live.any():
            collector.begin(schedule.episodes, fresh)
            schedule.tick(collector.step(schedule.live, fresh))
            done = schedule.over if frames is None else schedule.taken * frame_skip
            advance(done, "" if frames is None else f"{schedule.over} episodes")
            if schedule.expired:
                collector.cut(frame_skip)
                break
            fresh = schedule.begin()
    return store


def _check_goal(episodes: int | None, frames: int | None) -> int:
    if (episodes is None) == (frames is None):
        raise ValueError(
            f"episodes, frames: expected one of the two, got {episodes} and {frames}; give one of "
            "them, and leave the other out"
        )
    name, value = ("frames", frames) if episodes is None else ("episodes", episodes)
    return check_int(name, value or 0, at_least=1)


def _open_store(
    path: str | Path, task: Task, frame_skip: int, policy: dict[str, Any]
) -> RolloutStore:
    check_writable(path, kind="folder")
    metadata = StoreMetadata(
        task=task.name,
        frame_shape=task.frame_shape,
        action_space=task.actions,
        frame_skip=frame_skip,
        warmup_frames=task.warmup_frames,
        start_window=task.start_window,
        frame_stack=task.frame_stack,
        policy=policy,
    )
    return RolloutStore(path, "a", metadata=metadata)


def _policies(
    task: Task,
    policy: "ExplorationPolicy | Agent | BaseAlgorithm | FrameFunction | str | None",
    noise: NoisyAgent | None,
    world_model: WorldModel | None,
    num_envs: int,
    device: str,
) -> tuple[ExplorationPolicy, FramePolicy | None]:
    """Converts the argument ``policy`` of :func:`collect` to an exploration and a frame policy.

    The frame policy chooses actions, and the exploration policy adds noise to these actions. If
    the argument ``policy`` is None, an exploration policy or the name of one, the frame policy is
    None, and the exploration policy chooses the actions.
    """
    if policy is None:
        policy = "autoregressive" if task.actions.is_continuous else "repeated"
    if isinstance(policy, str):
        policy = (
            EXPLORATION_POLICIES[policy]()
            if policy in EXPLORATION_POLICIES
            else load_agent(policy, device)
        )
    if isinstance(policy, ExplorationPolicy):
        return policy, None
    if isinstance(policy, Agent):
        if world_model is None:
            world_model = open_for_collection(policy, task, device=device)
        own = world_model.task
        for what, expected, got in (
            ("frames of shape", own.frame_shape, task.frame_shape),
            ("a frame_stack of", own.frame_stack, task.frame_stack),
        ):
            if got != expected:
                raise ValueError(
                    f"task: expected {what} {expected}, as in the task {own.name!r} that the agent "
                    f"was trained on, got {got} in the task {task.name!r}; collect in the task "
                    f"{own.name!r}"
                )
        return noise or NoisyAgent(), FrameAgent(policy, world_model, num_envs)
    if _is_sb3_model(policy):
        from wmrl.agents.rollouts.sb3_policy import SB3Policy

        return noise or NoisyAgent(), SB3Policy(policy, task)
    if callable(policy):
        return noise or Unperturbed(), FunctionPolicy(policy, task)
    raise ValueError(
        f"policy: expected an exploration policy or its name, an agent or its name or path, a "
        f"model of Stable-Baselines3, or a function policy(frame), got {policy!r:.100}"
    )


def _is_sb3_model(policy: Any) -> TypeGuard["BaseAlgorithm"]:
    """Returns True for a model of Stable-Baselines3, without importing that package."""
    module = sys.modules.get("stable_baselines3.common.base_class")
    return module is not None and isinstance(policy, module.BaseAlgorithm)


def open_for_collection(
    agent: Agent,
    task: Task,
    *,
    vision: str | Path | None = None,
    memory: str | Path | None = None,
    device: str = "auto",
) -> WorldModel:
    """Opens the world model of an agent that plays a task.

    The agent may also play a variant of the task that it was trained on. If the variant has another
    name, the task that the agent was trained on must be registered.

    Args:
        agent: agent that plays.
        task: task that is played.
        vision: shipped name or path of the vision model; None for the one that the agent was
            trained with.
        memory: shipped name or path of the memory model; None for the one that the agent was
            trained with.
        device: device of the models.

    Raises:
        ArtifactError: the world model cannot be opened.
    """
    own = agent.world_model is None or agent.world_model.task == task.name
    return agent.open_world_model(
        task=task if own else None, vision=vision, memory=memory, device=device
    )


@contextmanager
def _discarding_unused(store: RolloutStore) -> Iterator[None]:
    """Removes a store without episodes if the ``with`` block fails.

    The store is kept if ``store`` neither created it nor replaced its metadata.
    """
    try:
        yield
    except BaseException:
        store.discard_unused()
        raise


@contextmanager
def _writing(store: RolloutStore) -> Iterator[Callable[[int, Episode], None]]:
    """Provides a function that writes episodes in background threads.

    The ``with`` block ends when all episodes are written. Errors in the background threads are
    raised in the calling thread.
    """
    pending: set[Future[Any]] = set()
    with ThreadPoolExecutor(_WRITERS) as threads:

        def write(index: int, episode: Episode) -> None:
            nonlocal pending
            if len(pending) >= _MAX_PENDING:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
            pending.add(threads.submit(store.write, index, episode))

        yield write
        for future in pending:
            future.result()
