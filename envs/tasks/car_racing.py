"""The task CarRacing of World Models, here with frame skip 4 and one pedal for gas and brake."""

import numpy as np
from gymnasium import spaces

from wmrl.envs.tasks.task import Task


def steer_and_pedal_to_action(action: np.ndarray) -> np.ndarray:
    """Converts an action (steer, pedal) to an action (steer, gas, brake) of CarRacing.

    Args:
        action: ``(2,)``, steer and pedal; both are clipped to [−1, 1]. Positive values of the pedal
            become gas, and negative values become brake.

    Returns:
        Steer, gas and brake, ``(3,) float32``.
    """
    steer, pedal = np.clip(action, -1.0, 1.0)
    return np.array([steer, max(pedal, 0.0), max(-pedal, 0.0)], dtype=np.float32)


CAR_RACING = Task(
    name="car-racing",
    env_id="vsg/CarRacing-v3",
    action_space=spaces.Box(-1.0, 1.0, (2,), np.float32),
    to_env_action=steer_and_pedal_to_action,
    crop_rows=(0, 84),
    frame_skip=4,
    warmup_frames=50,
    start_window=6,  # the car is then on the road
    max_frames=1000,
    patience=100,
    explore_low=(0.0, -0.05),
    explore_high=(0.0, 0.5),
    solved_at=900.0,
    action_names=("steer", "pedal"),
    completed_key="lap_finished",
)
