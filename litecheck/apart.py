"""Does a new `.tflite` file run? In a process of its own, whose death can be reported.

LiteRT is C++, and a file can end the process that runs it. The other process imports LiteRT and
NumPy only. It does one thing after the other while this one goes on, and is started again after a
death.
"""

import collections
import math
import os
import pickle
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from litecheck import litert, script

SERVE = "from litecheck import apart; apart.serve()"
PORTION = 2**22  # bytes of inputs in one request to run
AHEAD = 2**26  # bytes of inputs that are sent with a file, before it is asked for
SLICE = 0.5  # seconds after which a request to run ends, so that progress can be shown
REFUSALS = (ValueError, RuntimeError, TypeError)  # by LiteRT, of a file or of an input
Result = tuple[dict[str, np.ndarray], float]  # a run's outputs, and the seconds that it took


class Reply:
    """A request to a `Device`, and its reply when there is one."""

    def __init__(self, device: "Device", request: tuple[str, Any]) -> None:
        """Take what it is asked for: a method of `_Server`, and its argument."""
        self._device, self.request, self.is_repeated = device, request, False
        self.said: tuple[bool, Any] | None = None

    def get(self) -> Any:
        """Wait for it, and return what the method returns.

        Raises:
            RuntimeError: the process dies on it.
            ValueError, RuntimeError, TypeError: the method raises it.
        """
        while self.said is None:
            self._device.receive()
        is_sound, value = self.said
        if not is_sound:
            raise value
        return value


class Device:
    """A process that runs files; it ends with this object.

    Attributes:
        loaded: the content of the file that it will have loaded when it has done what it was asked.
    """

    def __init__(self) -> None:
        """Start the process, which takes a tenth of a second beside what is done meanwhile."""
        self._waiting = collections.deque[Reply]()
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
        self.loaded = b""

    def load(self, content: bytes) -> "Runner":
        """Load a file, and wait for that.

        Raises:
            ValueError: LiteRT refuses it.
            RuntimeError: the process dies.
        """
        found = Runner(self, content)
        found.wait()
        return found

    def begin(self, function: str, argument: Any) -> Reply:
        """Have a method of the process's `_Server` called, when it has done what came before."""
        reply = Reply(self, (function, argument))
        self._send(reply)
        return reply

    def _send(self, reply: Reply) -> None:
        if not self._end.alive:
            self._start()
        self._waiting.append(reply)
        sent = self._process.stdin
        assert sent
        try:
            pickle.dump(reply.request, sent, pickle.HIGHEST_PROTOCOL)
            sent.flush()
        except OSError:  # it died: that shows where the reply is missing
            pass

    def receive(self) -> None:
        """Wait for the reply to the first request.

        If the process dies, another is started, and the request is repeated once, alone: a later
        one, or something outside, may have ended it. A "run" is not: the new process has no file.
        """
        first, received = self._waiting.popleft(), self._process.stdout
        assert received
        try:
            first.said = pickle.load(received)
        except (EOFError, OSError, pickle.UnpicklingError):
            status, words = self._process.wait(), self._last_words()
            self._end()
            self.loaded = b""
            rest = list(self._waiting)
            self._waiting.clear()
            if first.is_repeated or first.request[0] == "run":  # the new process has no file
                end = f"LiteRT dies on it ({script.end_of(status)}){words}"
                first.said = False, RuntimeError(end)
            else:
                first.is_repeated = True
                self._send(first)
                self.receive()
            for each in rest:
                self._send(each)

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
        runs: the first runs, which were sent with the file.
        seconds: how long the latest run took, with its copies in and out.
    """

    def __init__(
        self,
        device: Device,
        content: bytes,
        runs: Sequence[Mapping[str, np.ndarray]] = (),
        seconds: float = math.inf,
        fewest: int = 1,
    ) -> None:
        """Begin to load a file's content into a device, and to run it.

        Args:
            device: the device.
            content: the file's content.
            runs: the inputs of each run; as many of them are run as `AHEAD` holds.
            seconds: how long runs may take in all; then no more are begun.
            fewest: how many are run in any case.
        """
        self._device, self._content, self.seconds = device, content, 0.0
        self.runs = _portion(runs, AHEAD)
        self._reply = device.begin("load", (content, self.runs, seconds, fewest))
        device.loaded = content

    def wait(self) -> list[Result]:
        """Return what came of the runs that were begun.

        Raises:
            ValueError, RuntimeError, TypeError: LiteRT refuses the file or an input, or an
                operation fails, or ends the process.
        """
        results: list[Result] | Exception = self._reply.get()[-1]
        if isinstance(results, Exception):
            raise results
        return results

    @property
    def inputs(self) -> dict[str, litert.Tensor]:
        """A dict from names to the details of input tensors, in the file's order."""
        found: dict[str, litert.Tensor] = self._reply.get()[0]
        return found

    @property
    def outputs(self) -> dict[str, litert.Tensor]:
        """The same of output tensors."""
        found: dict[str, litert.Tensor] = self._reply.get()[1]
        return found

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the file on the inputs of one run; see `litert.Runner`."""
        ((outputs, self.seconds),) = self.results([inputs])
        return outputs

    def results(self, runs: Sequence[Mapping[str, np.ndarray]]) -> Iterator[Result]:
        """Yield what comes of runs: their outputs, and how long each took.

        Raises:
            ValueError, RuntimeError, TypeError: see `wait`.
        """
        while runs:
            if self._device.loaded is not self._content:  # another was run, or the process died
                self._reply = self._device.begin("load", (self._content, (), 0.0, 0))
                self._device.loaded = self._content
            found = self._device.begin("run", (_portion(runs, PORTION), SLICE, 1)).get()
            yield from found
            runs = runs[len(found) :]


def ahead(device: Device, content: bytes, runs: Sequence[Mapping[str, np.ndarray]]) -> Reply | None:
    """Begin to look how large numbers become in a file, see `litert.magnitudes`.

    Returns:
        The reply; None where the runs' inputs are too large to be sent at once.
    """
    if len(_portion(runs, AHEAD)) < len(runs):
        return None
    return device.begin("magnitudes", (content, runs))


def _portion(
    runs: Sequence[Mapping[str, np.ndarray]], most: int
) -> Sequence[Mapping[str, np.ndarray]]:
    """Return the first of some runs whose inputs are at most so many bytes; at least one."""
    size = 0
    for count, run in enumerate(runs):
        size += sum(array.nbytes for array in run.values())
        if size > most:
            return runs[: max(count, 1)]
    return runs


class _Server:
    """What the process does for a `Device`."""

    def load(
        self, argument: tuple[bytes, Sequence[Mapping[str, np.ndarray]], float, int]
    ) -> tuple[dict[str, litert.Tensor], dict[str, litert.Tensor], list[Result] | Exception]:
        """Load a file, and run it unless it has other inputs.

        Returns:
            The details of its inputs and of its outputs, and the results, or why it does not run.
        """
        content, runs, seconds, fewest = argument
        self._runner = litert.Runner(content)
        inputs, outputs = self._runner.inputs, self._runner.outputs
        if runs and runs[0].keys() != inputs.keys():
            return inputs, outputs, []
        try:
            return inputs, outputs, self.run((runs, seconds, fewest))
        except REFUSALS as error:
            return inputs, outputs, error

    def magnitudes(
        self, argument: tuple[bytes, Sequence[Mapping[str, np.ndarray]]]
    ) -> list[tuple[str, np.ndarray]]:
        """Return how large numbers become in a file, see `litert.magnitudes`."""
        return litert.magnitudes(*argument)

    def run(self, argument: tuple[Sequence[Mapping[str, np.ndarray]], float, int]) -> list[Result]:
        """Run the file; after some seconds of running begin no run, if a number are done."""
        runs, seconds, fewest = argument
        found: list[Result] = []
        spent = 0.0
        for run in runs:
            if spent > seconds and len(found) >= fewest:
                break
            outputs = self._runner(run)
            found.append((outputs, self._runner.seconds))
            spent += self._runner.seconds
        return found


def serve() -> None:
    """Do what a `Device` asks for, until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    file = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what C++ prints is no answer
    # Neither side waits for the other to read: each request and each answer has room here.
    requests, answers = queue.SimpleQueue[Any](), queue.SimpleQueue[Any]()

    def receive() -> None:
        while True:
            try:
                requests.put(pickle.load(sys.stdin.buffer))
            except EOFError:
                requests.put(None)
                return

    def send() -> None:
        while True:
            pickle.dump(answers.get(), file, pickle.HIGHEST_PROTOCOL)
            file.flush()

    for task in receive, send:
        threading.Thread(target=task, daemon=True).start()
    server = _Server()
    while request := requests.get():
        function, argument = request
        try:
            answers.put((True, getattr(server, function)(argument)))
        except REFUSALS as error:
            answers.put((False, error))
