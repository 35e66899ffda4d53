"""Folders of a training run."""

from dataclasses import dataclass
from pathlib import Path

from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.envs.world_model import WorldModel


@dataclass(frozen=True)
class RunLayout:
    """Folders of a training run.

    Attributes:
        path: folder of the run.
        vision_rounds: number of initial rounds that train the vision model. Later rounds use the
            vision model of the last of these rounds.
    """

    path: Path
    vision_rounds: int

    @property
    def real(self) -> Path:
        """Folder of the stage that fine-tunes the agent in the real game."""
        return self.path / "real"

    def round(self, number: int) -> Path:
        """Returns the folder of a round; the first round has the number 0."""
        return self.path / f"round-{number}"

    def vision(self, number: int) -> Path:
        """Returns the artifact folder of the vision model that a round uses."""
        return self.round(min(number, self.vision_rounds - 1)) / "vision" / "artifact"

    def memory(self, number: int) -> Path:
        """Returns the artifact folder of the memory model of a round."""
        return self.round(number) / "memory" / "artifact"

    def memory_member(self, number: int, member: int) -> Path:
        """Returns the artifact folder of one member of the memory ensemble of a round."""
        return self.round(number) / "memory" / f"member-{member}" / "artifact"

    def agent(self, stage: Path) -> Path:
        """Returns the artifact folder of the agent that is trained in the folder ``stage``."""
        return stage / "agent"

    def world_model_ref(self, world_model: WorldModel, number: int, stage: Path) -> WorldModelRef:
        """Creates the reference from an agent to the world model of a round.

        The paths in the reference are relative to the artifact folder of the agent, so that the
        folder of the run can be moved.

        Args:
            world_model: world model of the round.
            number: number of the round; 0 for the first round.
            stage: folder in which the agent is trained.
        """
        return WorldModelRef.of(
            world_model,
            vision=self.vision(number),
            memory=self.memory(number),
            relative_to=self.agent(stage),
        )
