"""The training process ends with the service, whatever it is busy with."""

import subprocess
import sys
from pathlib import Path

from life_of_a_process import eventually, is_living


def test_a_child_deep_in_linear_algebra_ends_with_a_killed_service(tmp_path: Path) -> None:
    # LAPACK keeps the GIL for as long as it works, 48 s for 20,000 items: no thread of the child can watch meanwhile
    script = Path(__file__).with_name("gil_holder.py")
    parent = subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = next(int(line) for line in parent.stdout if line.strip().isdecimal())
        try:
            assert is_living(child)
        finally:
            parent.kill()
            parent.wait(10)
        assert eventually(lambda: not is_living(child), 5)
