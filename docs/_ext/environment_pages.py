"""Reference of each registered environment, made from its spec and its class's docstring."""

import re
from importlib import import_module
from inspect import getdoc

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

import wmrl  # noqa: F401 -- registers the environments


def environments() -> list[str]:
    """Returns the ids of all environments of this library."""
    return sorted(name for name in gym.registry if name.startswith("vsg/"))


def text(name: str) -> str:
    """Returns the reference of an environment as Markdown."""
    spec = gym.spec(name)
    return f"{_table(spec)}\n\n{sections(docstring(spec))}\n"


def sections(text: str) -> str:
    """Converts a docstring in Google's style, with headings of Markdown, to Markdown."""
    _, _, rest = text.partition("\n\n")  # without the summary
    rest = re.sub(r":(\w+):`", r"{py:\1}`", rest)
    rest = re.sub(r"(?<![<`])https?://[^\s)]+", r"<\g<0>>", rest)
    rest, _, example = rest.partition("\nExample:\n")
    rest, _, errors = rest.partition("\nRaises:\n")
    parts = [rest.strip()]
    if errors:
        parts += ["## Errors", _definitions(errors)]
    if example:
        lines = [line.removeprefix("    ") for line in example.strip("\n").splitlines()]
        parts += ["## Example", "\n".join(["```pycon", *lines, "```"])]
    return "\n\n".join(parts)


def _definitions(section: str) -> str:
    """The entries ``Name: text`` of a section as a list."""
    entries = re.split(r"^    (?=\w)", section, flags=re.M)[1:]
    return "\n".join(re.sub(r"^(\w+): ", r"- `\1`: ", " ".join(entry.split())) for entry in entries)


def docstring(spec: EnvSpec) -> str:
    """Returns the docstring of an environment's class."""
    module, _, name = str(spec.entry_point).partition(":")
    return getdoc(getattr(import_module(module), name)) or ""


def _table(spec: EnvSpec) -> str:
    rows = [("Make", f'`gymnasium.make("{spec.id}")`')]
    if spec.vector_entry_point is not None:
        rows.append(("Batched", f'`gymnasium.make_vec("{spec.id}", num_envs=…)`'))
    if None not in spec.kwargs.values():  # else, a task or a model has to be given
        env = gym.make(spec.id)
        rows += [
            ("Action space", f"`{env.action_space}`"),
            ("Observation space", f"`{env.observation_space}`"),
        ]
        env.close()
    if spec.max_episode_steps is not None:
        rows.append(("Limit of an episode", f"{spec.max_episode_steps} steps"))
    if spec.reward_threshold is not None:
        rows.append(("Counts as solved", f"from a mean return of {spec.reward_threshold:g}"))
    lines = ["| | |", "| --- | --- |", *(f"| {label} | {value} |" for label, value in rows)]
    return "\n".join(lines)
