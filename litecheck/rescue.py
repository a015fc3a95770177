"""What remains if a conversion crashes? A parent process reports it, and converts the rest.

TensorFlow's converter is C++, and some models crash its process. The parent process does not import
TensorFlow. It starts a new process for the variants that are left, which reads what is converted
already from its files.
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

ENDS = {0, 1, 2, 130}  # the statuses of a process that did not crash, with 130 after Ctrl-C


class Progress:
    """The progress of a conversion, kept in a file that outlives the process.

    Attributes:
        saved: the SHA-256 of each file that was written, by variant.
        left_out: why a variant was not written, by variant.
        notes: what was done so that a variant loses less, by variant.
    """

    def __init__(self, file: str = "") -> None:
        """Read the progress from a file if it exists. Without a path nothing is kept."""
        self._file, self._latest = file, ""
        self._died: list[str] = []  # variants whose crash was not printed yet
        self.saved: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        if os.path.exists(file):
            with open(file, encoding="utf-8") as content:
                self._latest, self._died, self.saved, self.left_out, self.notes = json.load(content)

    def is_resumed(self) -> bool:
        """Return whether an earlier process has done part of the conversion."""
        return bool(self.saved or self.left_out)

    def is_new(self, variant: str) -> bool:
        """Return whether the result for a variant was not printed yet."""
        return variant in self._died or variant not in {*self.saved, *self.left_out}

    def begin(self, variant: str) -> None:
        """Note that work on a variant begins. If the process crashes, the variant is the cause."""
        self._latest = variant
        self._write()

    def end(self, variant: str, sha256: str | None, reason: str, note: str = "") -> None:
        """Note the result for a variant.

        Args:
            variant: the variant.
            sha256: the SHA-256 of its file, or None if there is no file.
            reason: why there is no file.
            note: what was done so that the variant loses less.
        """
        self.notes[variant] = note
        self._died = [other for other in self._died if other != variant]
        if sha256:
            self.saved[variant] = sha256
        else:
            self.left_out[variant] = reason
        self._write()

    def died(self, how: str) -> bool:
        """Note that the process crashed, and return whether it was working on a variant.

        Args:
            how: how the process ended, see `script.end_of`.
        """
        if not self._latest or self._latest in {*self.saved, *self.left_out}:
            return False
        self.end(self._latest, None, f"TensorFlow dies on it ({how})")
        self._died.append(self._latest)
        self._write()
        return True

    def _write(self) -> None:
        if self._file:
            aside = f"{self._file}.new"  # if the process dies here, the old file is still complete
            with open(aside, "w", encoding="utf-8") as content:
                state = [self._latest, self._died, self.saved, self.left_out, self.notes]
                json.dump(state, content)
            os.replace(aside, self._file)


def convert(program: str, arguments: Sequence[str], name: str) -> int:
    """Run the command `convert` in a process, and in a new one after each crash.

    Args:
        program: the command's name, for messages.
        arguments: the command's arguments.
        name: the path that files are named after. Temporary files of a crashed process are removed
            there.

    Returns:
        The exit status of the last process.
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
            for number in ordered:  # the signal ended the other process, and must end this one
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
                print(f"{program}: the process died ({how}) {end}", file=sys.stderr)
                return 1


@contextlib.contextmanager
def _passing_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Pass Ctrl-C and SIGTERM on to a process, and yield a list that collects each SIGTERM."""
    ordered: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        ordered.append(number)
        process.terminate()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.name != "nt":  # on Windows all processes of a console receive Ctrl-C
            process.send_signal(number)

    before = [signal.signal(signal.SIGTERM, end), signal.signal(signal.SIGINT, interrupt)]
    try:
        yield ordered
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def watch() -> None:
    """End this process when its parent ends, which closes the other end of stdin."""

    def wait() -> None:
        os.read(0, 1)  # not `sys.stdin`, because this thread would hold its lock at exit
        script.tidy()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
