import subprocess
import sys

import pytest

import wmrl.agents


def test_every_name_of_the_index_is_there():
    assert dir(wmrl.agents) == sorted(wmrl.agents.__all__)
    for name in wmrl.agents.__all__:
        assert getattr(wmrl.agents, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nobody'"):
        wmrl.agents.nobody  # noqa: B018


def test_importing_the_package_loads_no_torch():
    code = "import sys, wmrl.agents; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
