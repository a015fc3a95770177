"""Does a new `.tflite` file run? It runs in a process of its own, so that a crash can be reported.

LiteRT is C++, and a file can crash the process that runs it. The second process imports only LiteRT
and NumPy. It works through its requests one by one, while this process goes on. After a crash it is
started again.
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
PORTION = 2**22  # the most bytes of inputs in one request to run
AHEAD = 2**26  # the most bytes of inputs sent together with a file
SLICE = 0.5  # a request to run ends after so many seconds, so that progress can be shown
REFUSALS = (ValueError, RuntimeError, TypeError)  # LiteRT raises these for a bad file or input
Result = tuple[dict[str, np.ndarray], float]  # the outputs of a run, and its seconds


class Reply:
    """A request to a `Device`, and later the reply to it.

    Attributes:
        request: the name of a method of `_Server`, and its argument.
        is_repeated: whether the request was sent a second time after a crash.
        said: whether the method returned, and what it returned or raised. None until then.
    """

    def __init__(self, device: "Device", request: tuple[str, Any]) -> None:
        """Take the device and the request."""
        self._device, self.request, self.is_repeated = device, request, False
        self.said: tuple[bool, Any] | None = None

    def get(self) -> Any:
        """Wait for the reply, and return what the method returned.

        Raises:
            RuntimeError: the process crashed.
            ValueError, RuntimeError, TypeError: the method raised it.
        """
        while self.said is None:
            self._device.receive()
        is_sound, value = self.said
        if not is_sound:
            raise value
        return value


class Device:
    """A process that runs files. It ends when this object is deleted.

    Attributes:
        loaded: the content of the file that will be loaded once all requests so far are done.
    """

    def __init__(self) -> None:
        """Start the process. That takes 0.1 seconds, and this process need not wait for it."""
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
        """Load a file, and wait until it is loaded.

        Raises:
            ValueError: LiteRT refuses the file.
            RuntimeError: the process crashes.
        """
        found = Runner(self, content)
        found.wait()
        return found

    def begin(self, function: str, argument: Any) -> Reply:
        """Send a request to call a method of `_Server`, after all earlier requests are done."""
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
        except OSError:  # the process crashed, and `receive` will see that the reply is missing
            pass

    def receive(self) -> None:
        """Wait for the reply to the oldest request.

        If the process crashes, a new one is started, and the request is repeated once, on its own.
        A later request, or the system, may have caused the crash. A "run" is not repeated, because
        the new process has not loaded the file.
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
            if first.is_repeated or first.request[0] == "run":
                end = f"LiteRT dies on it ({script.end_of(status)}){words}"
                first.said = False, RuntimeError(end)
            else:
                first.is_repeated = True
                self._send(first)
                self.receive()
            for each in rest:
                self._send(each)

    def _last_words(self) -> str:
        """Return the last line that the process wrote to stderr, without notes, or ""."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        last = [line for line in lines if line.strip() and not line.startswith(("INFO", "I0"))]
        return f": {script.brief(re.sub(r'^[A-Z][0-9]{4} [^]]*] ', '', last[-1]))}" if last else ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process, and close its pipes."""
    process.kill()
    process.communicate()


class Runner:
    """Runs a file as `litert.Runner` does, but in a `Device`.

    Attributes:
        runs: the inputs of the first runs, which were sent with the file.
        seconds: how long the latest run took, including copying data in and out.
    """

    def __init__(
        self,
        device: Device,
        content: bytes,
        runs: Sequence[Mapping[str, np.ndarray]] = (),
        seconds: float = math.inf,
        fewest: int = 1,
    ) -> None:
        """Start to load a file into a device and to run it, without waiting.

        Args:
            device: the device.
            content: the bytes of the file.
            runs: the inputs of each run. Only the first runs are sent, up to `AHEAD` bytes.
            seconds: after this time no more runs are begun.
            fewest: this many runs are made in any case.
        """
        self._device, self._content, self.seconds = device, content, 0.0
        self.runs = _portion(runs, AHEAD)
        self._reply = device.begin("load", (content, self.runs, seconds, fewest))
        device.loaded = content

    def wait(self) -> list[Result]:
        """Wait for the runs that were sent with the file, and return their results.

        Raises:
            ValueError, RuntimeError, TypeError: LiteRT refuses the file or an input, an operation
                fails, or the process crashes.
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
        """A dict from names to the details of output tensors, in the file's order."""
        found: dict[str, litert.Tensor] = self._reply.get()[1]
        return found

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the file on the inputs of one run; see `litert.Runner`."""
        ((outputs, self.seconds),) = self.results([inputs])
        return outputs

    def results(self, runs: Sequence[Mapping[str, np.ndarray]]) -> Iterator[Result]:
        """Yield the result of each run: its outputs, and how long it took.

        Raises:
            ValueError, RuntimeError, TypeError: see `wait`.
        """
        while runs:
            if self._device.loaded is not self._content:  # it loaded another file, or was restarted
                self._reply = self._device.begin("load", (self._content, (), 0.0, 0))
                self._device.loaded = self._content
            found = self._device.begin("run", (_portion(runs, PORTION), SLICE, 1)).get()
            yield from found
            runs = runs[len(found) :]


def ahead(device: Device, content: bytes, runs: Sequence[Mapping[str, np.ndarray]]) -> Reply | None:
    """Start `litert.magnitudes` in a device, without waiting.

    Returns:
        The `Reply`, or None if the inputs of the runs are too large to send at once.
    """
    if len(_portion(runs, AHEAD)) < len(runs):
        return None
    return device.begin("magnitudes", (content, runs))


def _portion(
    runs: Sequence[Mapping[str, np.ndarray]], most: int
) -> Sequence[Mapping[str, np.ndarray]]:
    """Return the first runs, with inputs of at most `most` bytes, but at least one run."""
    size = 0
    for count, run in enumerate(runs):
        size += sum(array.nbytes for array in run.values())
        if size > most:
            return runs[: max(count, 1)]
    return runs


class _Server:
    """The requests that the second process can do for a `Device`, one method each."""

    def load(
        self, argument: tuple[bytes, Sequence[Mapping[str, np.ndarray]], float, int]
    ) -> tuple[dict[str, litert.Tensor], dict[str, litert.Tensor], list[Result] | Exception]:
        """Load a file, and run it if its inputs have the names of the given ones.

        Returns:
            The details of the file's inputs and of its outputs, and the results of the runs or the
            exception that one of them raised.
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
        """Return the largest absolute values in a file's tensors, see `litert.magnitudes`."""
        return litert.magnitudes(*argument)

    def run(self, argument: tuple[Sequence[Mapping[str, np.ndarray]], float, int]) -> list[Result]:
        """Run the loaded file. The argument has runs, seconds and fewest, as in `Runner`."""
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
    """Serve the requests of a `Device` until stdin is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks handles Ctrl-C
    file = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # C++ code may print to stdout, which must carry only replies
    # These queues hold any number of requests and replies, so that neither process has to wait
    # until the other one reads.
    requests, replies = queue.SimpleQueue[Any](), queue.SimpleQueue[Any]()

    def receive() -> None:
        while True:
            try:
                requests.put(pickle.load(sys.stdin.buffer))
            except EOFError:
                requests.put(None)
                return

    def send() -> None:
        while True:
            pickle.dump(replies.get(), file, pickle.HIGHEST_PROTOCOL)
            file.flush()

    for task in receive, send:
        threading.Thread(target=task, daemon=True).start()
    server = _Server()
    while request := requests.get():
        function, argument = request
        try:
            replies.put((True, getattr(server, function)(argument)))
        except REFUSALS as error:
            replies.put((False, error))
