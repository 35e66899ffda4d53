from collections.abc import Iterator

import numpy as np
import pygame
import pytest
from gymnasium import spaces

from wmrl.core.action_spec import ActionSpec
from wmrl.scripts.keyboard import ChoiceKeyboard, Keyboard, keyboard_for


@pytest.fixture(autouse=True)
def _window() -> Iterator[None]:
    pygame.display.init()
    pygame.display.set_mode((64, 64))
    pygame.event.clear()
    yield
    pygame.display.quit()


def press(key: int, *, up: bool = False) -> None:
    pygame.event.post(pygame.event.Event(pygame.KEYUP if up else pygame.KEYDOWN, key=key))


def held(keyboard: Keyboard, *keys: int) -> np.ndarray:
    """The action after the keys were held for long."""
    for key in keys:
        press(key)
    keyboard.read()
    action = keyboard.act(10.0)
    for key in keys:
        press(key, up=True)
    keyboard.read()
    return action


@pytest.mark.parametrize(
    ("keys", "action"),
    [
        ((), (0, 0)),
        ((pygame.K_LEFT,), (-1, 0)),
        ((pygame.K_RIGHT, pygame.K_UP), (1, 1)),
        ((pygame.K_DOWN,), (0, -1)),
        ((pygame.K_a, pygame.K_w), (-1, 1)),
        ((pygame.K_LEFT, pygame.K_RIGHT), (0, 0)),
        ((pygame.K_LEFT, pygame.K_a), (-1, 0)),
        ((pygame.K_x,), (0, 0)),
    ],
)
def test_keys_move_the_action(keys: tuple[int, ...], action: tuple[float, float]) -> None:
    np.testing.assert_array_equal(held(Keyboard(2), *keys), np.array(action, np.float32))


def test_actions_move_smoothly_and_return() -> None:
    keyboard = Keyboard(2, rate=4.0)
    press(pygame.K_RIGHT)
    keyboard.read()
    steers = [keyboard.act(0.1)[0] for _ in range(4)]
    press(pygame.K_RIGHT, up=True)
    keyboard.read()
    steers += [keyboard.act(0.1)[0] for _ in range(3)]
    assert steers == pytest.approx([0.4, 0.8, 1.0, 1.0, 0.6, 0.2, 0.0])


def test_action_dims() -> None:
    assert held(Keyboard(1), pygame.K_RIGHT, pygame.K_UP) == pytest.approx([1])
    assert held(Keyboard(3), pygame.K_RIGHT, pygame.K_UP) == pytest.approx([1, 1, 0])


def test_a_restart_is_reported_once() -> None:
    keyboard = Keyboard(2)
    assert not keyboard.take_restart()
    press(pygame.K_r)
    keyboard.read()
    assert keyboard.take_restart()
    assert not keyboard.take_restart()


@pytest.mark.parametrize("key", [pygame.K_ESCAPE, pygame.K_q, None])
def test_quitting(key: int | None) -> None:
    keyboard = Keyboard(2)
    keyboard.read()
    assert not keyboard.quits
    if key is None:
        pygame.event.post(pygame.event.Event(pygame.QUIT))
    else:
        press(key)
    keyboard.read()
    assert keyboard.quits


def test_keys_are_released_when_the_window_loses_the_focus() -> None:
    keyboard = Keyboard(2)
    press(pygame.K_UP)
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    keyboard.read()
    np.testing.assert_array_equal(keyboard.act(1.0), [0, 0])


@pytest.mark.parametrize(
    ("keys", "action"),
    [
        ((), 4),  # "stay"
        ((pygame.K_LEFT,), 3),
        ((pygame.K_d,), 5),
        ((pygame.K_0,), 3),
        ((pygame.K_2,), 5),
        ((pygame.K_7,), 4),
        ((pygame.K_UP,), 4),
    ],
)
def test_keys_choose_options(keys: tuple[int, ...], action: int) -> None:
    spec = ActionSpec.of(spaces.Discrete(3, start=3))
    keyboard = keyboard_for(spec, ("left", "Stay", "right"))
    assert isinstance(keyboard, ChoiceKeyboard)
    assert held(keyboard, *keys) == action
    assert held(keyboard, *keys) in spec.space


def test_keys_of_several_choices_and_of_bits() -> None:
    choices = keyboard_for(ActionSpec.of(spaces.MultiDiscrete([2, 3], start=[0, 1])))
    assert held(choices, pygame.K_1).tolist() == [0, 2]
    assert held(choices, pygame.K_0, pygame.K_1, pygame.K_5).tolist() == [1, 3]
    assert held(choices, pygame.K_0, pygame.K_1).tolist() == [0, 1]
    bits = keyboard_for(ActionSpec.of(spaces.MultiBinary(3)))
    assert held(bits, pygame.K_0, pygame.K_2).tolist() == [1, 0, 1]
    assert held(bits).tolist() == [0, 0, 0]


def test_a_continuous_game_has_the_smooth_keyboard() -> None:
    assert type(keyboard_for(ActionSpec.of(spaces.Box(-1, 1, (2,))))) is Keyboard


def test_errors() -> None:
    with pytest.raises(ValueError, match="action_dim: expected at least 1, got 0"):
        Keyboard(0)
    with pytest.raises(ValueError, match=r"rate: expected above 0, got 0\.0"):
        Keyboard(1, rate=0.0)
