"""What remains when a conversion dies? A small process outside reports it, and starts the rest.

TensorFlow's converter is C++, and some models end its process. The process outside imports nothing
of it. What is converted already is read from its files.
"""

import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from litecheck import artifacts, script

ENDS = {0, 1, 2, 130}  # statuses of a process that ended by itself, or by Ctrl-C


class Progress:
    """How far a conversion has come, kept in a file that outlives its process.

    Attributes:
        saved: the SHA-256 of the files that are written, by variants.
        left_out: why others were not, by variants.
        notes: what was done that a variant loses less, by variants.
    """

    def __init__(self, file: str = "") -> None:
        """Read a file, if it is there; without one nothing is kept."""
        self._file, self._latest = file, ""
        self._died: list[str] = []  # variants of which that was not printed yet
        self.saved: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        if os.path.exists(file):
            with open(file, encoding="utf-8") as content:
                self._latest, self._died, self.saved, self.left_out, self.notes = json.load(content)

    def is_resumed(self) -> bool:
        """Return whether another process has begun."""
        return bool(self.saved or self.left_out)

    def is_new(self, variant: str) -> bool:
        """Return whether what becomes of a variant was not printed yet."""
        return variant in self._died or variant not in {*self.saved, *self.left_out}

    def begin(self, variant: str) -> None:
        """Note that a variant is converted or compared now: a death counts as its own."""
        self._latest = variant
        self._write()

    def end(self, variant: str, sha256: str | None, reason: str, note: str = "") -> None:
        """Note what came of a variant: a file, and what was done to it, or why there is none."""
        self.notes[variant] = note
        self._died = [other for other in self._died if other != variant]
        if sha256:
            self.saved[variant] = sha256
        else:
            self.left_out[variant] = reason
        self._write()

    def died(self, how: str) -> bool:
        """Note that the process died, and return whether it was at work on a variant."""
        if not self._latest or self._latest in {*self.saved, *self.left_out}:
            return False
        self.end(self._latest, None, f"TensorFlow dies on it ({how})")
        self._died.append(self._latest)
        self._write()
        return True

    def _write(self) -> None:
        if self._file:
            aside = f"{self._file}.new"  # a process that dies here leaves the old one whole
            with open(aside, "w", encoding="utf-8") as content:
                state = [self._latest, self._died, self.saved, self.left_out, self.notes]
                json.dump(state, content)
            os.replace(aside, self._file)


def convert(program: str, arguments: Sequence[str], name: str) -> int:
    """Run the command `convert` in other processes until one ends by itself; return its status.

    Args:
        program: the command's name, for messages.
        arguments: its arguments.
        name: the path after which files are named, to remove what a dead process leaves there.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "progress.json")
        code = f"sys.argv[0] = {program.split()[0]!r}; from litecheck import __main__, rescue;"
        code += f" rescue.watch(); __main__.main({file!r})"
        while True:
            process = subprocess.Popen(
                [*script.interpreter(code), *arguments], stdin=subprocess.PIPE
            )
            with _passing_on(process) as ordered:
                status = process.wait()
            for number in ordered:  # it ended the process, and ends this one, too
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            if status in ENDS:
                return status
            beside = glob.escape(os.path.dirname(name) or ".")
            for left in glob.glob(f"{beside}/{artifacts.ASIDE.format(process.pid)}*"):
                shutil.rmtree(left, ignore_errors=True)
            how = script.end_of(status)
            progress = Progress(file)
            if not progress.died(how):
                end = "before the end: run it again" if progress.saved else "before it wrote a file"
                print(f"{program}: it died ({how}) {end}", file=sys.stderr)
                return 1


@contextlib.contextmanager
def _passing_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Pass Ctrl-C and an order to end on to a process; yield a list of the orders that came."""
    ordered: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        ordered.append(number)
        process.terminate()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.name != "nt":  # there all processes of a console get it
            process.send_signal(number)

    before = [signal.signal(signal.SIGTERM, end), signal.signal(signal.SIGINT, interrupt)]
    try:
        yield ordered
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def watch() -> None:
    """End this process when the one outside is gone, which holds the other end of stdin."""

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin, whose lock this thread would hold at the end
        script.tidy()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
