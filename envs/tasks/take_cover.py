"""The task Take Cover of World Models, here with frame skip 4 and the actions left, stay, right."""

from gymnasium import spaces

from wmrl.envs.tasks.task import Task

TAKE_COVER = Task(
    name="take-cover",
    env_id="vsg/TakeCover-v0",
    action_space=spaces.Discrete(3),
    crop_rows=(0, 100),  # five sixths of the height, as in the paper
    frame_skip=4,
    max_frames=2100,
    fps=35.0,
    solved_at=750.0,
    blank_final_frame=True,
    action_names=("left", "stay", "right"),
)
