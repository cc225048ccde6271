"""What is installed is what was written: the built wheel has every file of the package, of whatever kind."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from servers import ROOT

NOT_OF_THE_PACKAGE = shutil.ignore_patterns("__pycache__", "*.pyc")


@pytest.mark.slow
def test_the_wheel_has_every_file(tmp_path: Path) -> None:
    """Scripts of Redis, documents, the JavaScript client and all else that is read at run time."""
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(ROOT / "gateway", source / "gateway", ignore=NOT_OF_THE_PACKAGE)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    if "Could not find a version that satisfies" in done.stderr:
        pytest.skip("the tools that build it cannot be had")
    assert done.returncode == 0, done.stderr
    [wheel] = out.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    written = {str(path.relative_to(ROOT)) for path in (ROOT / "gateway").rglob("*") if path.is_file()}
    assert packed == {name for name in written if "__pycache__" not in name}
    assert "gateway/web/client/client.js" in packed
