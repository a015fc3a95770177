"""Run the real scripts in a temporary directory, once for all tests that only look."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


def run(script, *arguments, cwd, **environment):
    """Run a script of the repository in `cwd` and return the finished process with its output.

    Args:
        script: a file name in the repository, or the path of another script.
        *arguments: its command-line arguments.
        cwd: the directory to run in.
        **environment: variables that differ from this process's.

    Returns:
        A `subprocess.CompletedProcess` with text in `stdout` and `stderr`.
    """
    command = [sys.executable] if str(script).endswith(".py") else ["sh"]
    scripts = Path(sys.executable).parent  # where tflite_convert is
    environment = {"PATH": f"{scripts}:{os.environ['PATH']}"} | environment
    return subprocess.run(
        [*command, REPOSITORY / script, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory):
    """Run the five steps with their defaults; return the directory and the process of each."""
    directory = tmp_path_factory.mktemp("pipeline")
    steps = [
        "01_create_model.py",
        "02_load_model.py",
        "convert-tflite.sh",
        "03_convert_model.py",
        "04_deploy_tflite.py",
    ]
    processes = {}
    for step in steps:
        processes[step] = run(step, cwd=directory)
        assert processes[step].returncode == 0, processes[step].stderr
    return directory, processes
