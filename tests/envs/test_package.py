import subprocess
import sys

import pytest

import wmrl.envs


def test_every_export_is_there():
    for name in wmrl.envs.__all__:
        assert getattr(wmrl.envs, name) is not None
        assert name in dir(wmrl.envs)
        assert name in wmrl.envs.__doc__
    with pytest.raises(AttributeError, match="has no attribute 'NoSuchEnv'"):
        wmrl.envs.NoSuchEnv  # noqa: B018


def test_importing_the_package_imports_neither_torch_nor_box2d():
    code = (
        "import sys, wmrl.envs; print([m for m in ('torch', 'Box2D', 'cv2') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
