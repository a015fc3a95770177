"""Does a new `.tflite` file run? In a process of its own, whose death can be reported.

LiteRT is C++, and a file can end the process that runs it. The other process imports LiteRT and
NumPy only. It runs one file after the other, and is started again after a death.
"""

import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from litecheck import litert, script

SERVE = "from litecheck import apart; apart.serve()"


class Device:
    """A process that runs files; it ends with this object."""

    def __init__(self) -> None:
        """Start the process, which takes a tenth of a second beside what is done meanwhile."""
        self._start()

    def _start(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            script.interpreter(SERVE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        script.at_interrupt(self._process.kill)
        self._end = weakref.finalize(self, _stop, self._process)

    def load(self, content: bytes) -> "Runner":
        """Load a file, in place of the one before.

        Raises:
            ValueError: LiteRT refuses it.
            RuntimeError: the process dies.
        """
        return Runner(self, content)

    def ask(self, function: str, argument: Any) -> Any:
        """Have a method of the process's `_Server` called, and return what it returns.

        Raises:
            RuntimeError: the process dies; the next call starts another one.
            ValueError, RuntimeError, TypeError: the method raises it.
        """
        if not self._end.alive:
            self._start()
        sent, received = self._process.stdin, self._process.stdout
        assert sent and received
        try:
            pickle.dump((function, argument), sent, pickle.HIGHEST_PROTOCOL)
            sent.flush()
            is_sound, answer = pickle.load(received)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            status, words = self._process.wait(), self._last_words()
            self._end()
            raise RuntimeError(f"LiteRT dies on it ({script.end_of(status)}){words}") from error
        if not is_sound:
            raise answer
        return answer

    def _last_words(self) -> str:
        """Return what the process said last, but for notes."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        last = [line for line in lines if line.strip() and not line.startswith(("INFO", "I0"))]
        return f": {script.brief(re.sub(r'^[A-Z][0-9]{4} [^]]*] ', '', last[-1]))}" if last else ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process, and close what leads to it."""
    process.kill()
    process.communicate()


class Runner:
    """Runs a file as `litert.Runner` does, in a `Device`.

    Attributes:
        inputs: a dict from names to the details of input tensors, in the file's order.
        outputs: the same of output tensors.
        seconds: how long the latest run took, with its copies in and out.
    """

    def __init__(self, device: Device, content: bytes) -> None:
        """Load a file's content into a device; see `Device.load`."""
        self._device = device
        self.inputs, self.outputs = device.ask("load", content)
        self.seconds = 0.0

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the file on the inputs of one run; see `litert.Runner`."""
        outputs: dict[str, np.ndarray]
        outputs, self.seconds = self._device.ask("run", inputs)
        return outputs


class _Server:
    """What the process does for a `Device`."""

    def load(self, content: bytes) -> tuple[dict[str, litert.Tensor], dict[str, litert.Tensor]]:
        """Load a file; return the details of its inputs and of its outputs."""
        self._runner = litert.Runner(content)
        return self._runner.inputs, self._runner.outputs

    def run(self, inputs: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
        """Run it; return its outputs, and the seconds that it took."""
        return self._runner(inputs), self._runner.seconds


def serve() -> None:
    """Do what a `Device` asks for, until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what C++ prints is no answer
    server = _Server()
    while True:
        try:
            function, argument = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer: tuple[bool, Any]
        try:
            answer = True, getattr(server, function)(argument)
        except (ValueError, RuntimeError, TypeError) as error:
            answer = False, error
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()
