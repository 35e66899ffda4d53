"""The task Take Cover of World Models, here with frame skip 4 and an action for each direction."""

from dataclasses import replace

from gymnasium import spaces

from wmrl.envs.tasks.task import Task

# Frames of 32×128 have as many pixels as the paper's 64×64, but all of them show the band in which
# monsters stand and fireballs fly. The resolution across, where fireballs are dodged, is double.
TAKE_COVER = Task(
    name="take-cover",
    env_id="vsg/TakeCover-v0",
    action_space=spaces.Discrete(3),
    crop_rows=(40, 88),
    frame_size=(32, 128),
    frame_skip=4,
    max_frames=2100,
    fps=35.0,
    solved_at=750.0,
    blank_final_frame=True,
    action_names=("left", "stay", "right"),
)

# The paper keeps the upper five sixths of the picture. This task is not registered: agents of this
# task are opened with --task wmrl.envs:TAKE_COVER_PAPER.
TAKE_COVER_PAPER = replace(
    TAKE_COVER, name="take-cover-paper", crop_rows=(0, 100), frame_size=(64, 64)
)
