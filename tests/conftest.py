"""Run the real scripts: in new interpreters, or in copies of one that has imported TensorFlow."""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
REPOSITORY = Path(__file__).parent.parent
STEPS = [
    "01_create_model.py",
    "02_load_model.py",
    "convert-tflite.sh",
    "03_convert_model.py",
    "04_deploy_tflite.py",
]


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


def _in_child(script, arguments, cwd, output, prepare):
    """Run a script as `python SCRIPT` does; its output goes to two files."""
    os.chdir(cwd)
    for descriptor, name in [(1, "stdout"), (2, "stderr")]:
        os.dup2(os.open(f"{output}/{name}", os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv = [script, *arguments]
    if prepare:
        prepare()
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit:
        raise
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise SystemExit(1) from None
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out


class Warm:
    """Starts the scripts in forks of a process that has imported TensorFlow and waits for more.

    A start takes milliseconds in place of seconds. The scripts are the real ones.
    """

    def __init__(self):
        """Start the process to fork."""
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["tensorflow", "keras", "matplotlib.pyplot", "ai_edge_litert.interpreter"]
        )

    def start(self, script, *arguments, cwd, output, prepare=None):
        """Start a script and return its `multiprocessing.Process`; see `run`.

        Args:
            script: a file name in the repository.
            *arguments: its command-line arguments.
            cwd: the directory to run in.
            output: a directory for the files `stdout` and `stderr`.
            prepare: a function to call first, in the new process.
        """
        arguments = [str(argument) for argument in arguments]
        process = self.context.Process(
            target=_in_child, args=(str(REPOSITORY / script), arguments, cwd, output, prepare)
        )
        process.start()
        return process

    def __call__(self, script, *arguments, cwd, prepare=None, timeout=120):
        """Run a script to its end and return a `subprocess.CompletedProcess`; see `start`."""
        with tempfile.TemporaryDirectory() as output:
            process = self.start(script, *arguments, cwd=cwd, output=output, prepare=prepare)
            process.join(timeout)
            if process.exitcode is None:
                process.kill()
                raise TimeoutError(f"{script} {arguments} did not end within {timeout} s")
            stdout, stderr = (
                Path(output, name).read_text(errors="replace") for name in ("stdout", "stderr")
            )
        return subprocess.CompletedProcess([script, *arguments], process.exitcode, stdout, stderr)


@pytest.fixture(scope="session")
def warm():
    """Return the session's `Warm`."""
    return Warm()


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory):
    """Run the five steps with their defaults; return the directory and the process of each."""
    directory = tmp_path_factory.mktemp("pipeline")
    processes = {}
    for step in STEPS:
        processes[step] = run(step, cwd=directory)
        assert processes[step].returncode == 0, processes[step].stderr
    return directory, processes


def assert_clear_error(process, *phrases):
    """Check the failed process for one or two lines on stderr that hold every phrase."""
    assert process.returncode not in (0, None), process.stdout
    assert 1 <= len(process.stderr.splitlines()) <= 2, process.stderr
    assert "Traceback" not in process.stderr
    for phrase in phrases:
        assert phrase in process.stderr
