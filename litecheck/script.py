"""How does a command behave? It starts quietly, prints short errors, and ends on Ctrl-C."""

import atexit
import contextlib
import functools
import gc
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from types import FrameType, TracebackType
from typing import TypeVar

T = TypeVar("T")

# This program receives what is written to descriptor 2, and passes it on except for notes. Notes
# are log lines of severity I, the headline that TensorFlow prints above its log, and a line of its
# quantizer. From "hold" to "forget" it keeps the last lines, and shows them only if the other
# process ends before "forget".
KEEPER = r"""
import collections, re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
note = re.compile(
    rb"I\d{4} |INFO: |[-\d]+ [\d:.]+: I |WARNING: All log messages before|fully_quantize: \d"
)
held = []
for line in sys.stdin.buffer:
    text, mark, word = line.partition(b"\0")
    if text and not note.match(text):
        if held:
            held[-1].append(text)
        else:
            sys.stderr.buffer.write(text)
            sys.stderr.buffer.flush()
    if word == b"hold\n":
        held.append(collections.deque(maxlen=100))
    elif word == b"forget\n" and held:
        held.pop()
for lines in held:
    sys.stderr.buffer.writelines(lines)
"""


class Failure(Exception):
    """An error that the user can fix. Its one or two lines say what is wrong and what to do next.

    A command prints these lines and ends with status 1. A notebook shows the exception.
    """


class Unreadable(Failure):
    """An error because a model, or the record of a check, is missing or damaged.

    A script may know the command that makes the file. It prints that command in place of the
    remedy.

    Attributes:
        reason: what is wrong.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        """Store what is wrong. The remedy says what to do next, and begins with punctuation."""
        super().__init__(f"{reason}{remedy}")
        self.reason = reason


def in_notebook() -> bool:
    """Return whether the user runs cells or lines one by one.

    This is so in a kernel, in PyCharm's console, and in Python's own prompt. Jupyter, VS Code and
    Spyder start ipykernel with different arguments, so the module is what they have in common.
    """
    return hasattr(sys, "ps1") or not {"ipykernel", "pydevconsole"}.isdisjoint(sys.modules)


def again() -> str:
    """Return how to try again: the command that was given, or in a notebook to run the cell."""
    if in_notebook():
        return "run this cell again"
    program, *arguments = sys.argv
    if os.path.basename(program) in ("__main__.py", "litecheck", "litecheck.exe"):
        return f"run again: {command(*arguments)}"
    return f"run again: {joined(['python', os.path.basename(program), *arguments])}"


def command(*arguments: str) -> str:
    """Return a litecheck command that the user can paste into a shell."""
    return joined(["python", "-m", "litecheck", *arguments])


def joined(words: Sequence[str]) -> str:
    """Return words as one command line, quoted for this system's shell.

    On Windows double quotes are enough, because file names cannot contain them.
    """
    if os.name != "nt":
        return shlex.join(words)
    return " ".join(word if re.fullmatch(r"[\w.:\\/=-]+", word) else f'"{word}"' for word in words)


def interpreter(code: str) -> list[str]:
    """Return the command that runs code in another Python process with the same import path."""
    return [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path}; {code}"]


def end_of(status: int) -> str:
    """Return how a process with this exit status ended: a signal's name, or the number."""
    try:
        return signal.Signals(-status).name
    except ValueError:  # no signal, as on Windows
        return f"status {status}"


def brief(error: object) -> str:
    """Return an exception's message as one line of at most 500 characters."""
    return " ".join(str(error).split())[:500]


def start(
    reads: Collection[str] = (),
    made_by: str = "",
    install: str = ".[convert]",
    program: str = "",
) -> None:
    """Set up a script or a command: hide library notes, shorten errors, and handle Ctrl-C.

    If a file is missing or cannot be read, the error names the command that makes it. In a notebook
    errors and interruptions stay exceptions.

    Args:
        reads: the files and directories that a script reads.
        made_by: the command that makes them.
        install: the arguments of `pip install` to suggest when a package is missing, separated by
            spaces.
        program: the name of a command, which parses its own arguments. It is "" for a script, which
            takes no arguments.

    Raises:
        Failure: a file is missing, or a script was given arguments.
    """
    name = program or os.path.basename(sys.argv[0])
    _open_what_is_closed()
    if not in_notebook():
        sys.excepthook = functools.partial(_report, name, install, made_by, reads)
        if hasattr(sys.stdout, "reconfigure"):
            # Each line reaches pipes and files at once. A name with characters that the terminal's
            # encoding lacks, such as cp949, must not end the script.
            sys.stdout.reconfigure(line_buffering=True, errors="replace")
        signal.signal(signal.SIGINT, Interrupt(name))
        if not program and sys.argv[1:]:
            own = command("--help")
            raise Failure(
                f"takes no arguments, but {joined(sys.argv[1:])} is given: change its values in"
                f" the file. For a model of your own: {own}"
            )
    os.dup2(_keeper().pipe, 2)
    for path in reads:
        if not os.path.exists(path):
            raise Failure(f"{path} is missing. Make it with: {made_by}")


def _open_what_is_closed() -> None:
    """Open the null device as stdin, stdout and stderr where they are closed, as by `>&-`.

    Otherwise the next file to be opened would get descriptor 1 or 2, and receive the output. The
    system gives out the lowest free descriptor, so the null device fills each gap.
    """
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(null, True)
    os.close(null)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _report(
    program: str,
    install: str,
    made_by: str,
    reads: Collection[str],
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """Print an exception: the message alone if the user can fix it, otherwise the traceback too.

    This is `sys.excepthook`. The first four arguments are those of `start`.
    """
    file, remedy = _unreadable(trace, reads), f"it again with: {made_by}"
    if issubclass(kind, ModuleNotFoundError):
        remedy = joined(["pip", "install", *install.split()])
        print(f"{program}: {brief(error)}: run {remedy}", file=sys.stderr)
    elif file and not issubclass(kind, Failure):
        reason = f"{file} cannot be read: {brief(error)}"  # or the call has a mistake
        print(f"{program}: {reason}\nIf the file is damaged, make {remedy}", file=sys.stderr)
    elif isinstance(error, Unreadable) and made_by:
        print(f"{program}: {error.reason}\nMake {remedy}", file=sys.stderr)
    elif issubclass(kind, Failure | OSError):
        print(f"{program}: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _unreadable(trace: TracebackType | None, reads: Collection[str]) -> str | None:
    """Return which of the files that a script reads was an argument of a failed library call.

    It is None if no file was, or if the call was to this package, which reports such files itself.
    """
    frames: list[FrameType] = []
    for frame, _ in traceback.walk_tb(trace):  # keep only the calls below the script's own code
        frames = [] if frame.f_globals.get("__name__") == "__main__" else [*frames, frame]
    if frames and frames[0].f_globals.get("__package__") == __package__:
        return None
    for frame in frames:
        texts = {value for value in frame.f_locals.values() if isinstance(value, str)}
        if found := texts.intersection(reads):
            return found.pop()
    return None


class Interrupt:
    """The handler of Ctrl-C: it cleans up, and ends the program at once with status 130.

    A KeyboardInterrupt is not reliable: TensorFlow loses about one in four.

    Attributes:
        tidy: functions without arguments that remove temporary files and end processes.
    """

    def __init__(self, program: str) -> None:
        """Take the program's name, and keep a descriptor of stderr, which may be redirected."""
        self.program, self.stderr = program, os.dup(2)
        self.tidy: list[Callable[[], object]] = []

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Clean up, print that the program was interrupted, and end it."""
        tidy()
        _wipe()
        os.write(self.stderr, f"{self.program}: interrupted\n".encode())
        if sys.__stdout__:
            sys.__stdout__.flush()
        os._exit(130)


def at_interrupt(function: Callable[[], object]) -> None:
    """Register a function to call when Ctrl-C ends the program.

    In a notebook this does nothing, because Ctrl-C raises an exception there.
    """
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interrupt):
        handler.tidy.append(function)


def tidy() -> None:
    """Call the functions registered with `at_interrupt`, before the program ends at once."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interrupt):
        for function in handler.tidy:
            function()


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """Show on a terminal what this block does, and erase that line at its end."""
    if sys.stdout.isatty():
        print(f"{what} …", end="", flush=True)
    try:
        yield
    finally:
        _wipe()


def counted(items: Sequence[T], what: str) -> Iterator[T]:
    """Yield the items of a list, and show the progress on a terminal."""
    shown = time.monotonic()
    try:
        for index, item in enumerate(items):
            if sys.stdout.isatty() and time.monotonic() - shown > 0.5:
                _wipe()
                print(f"{what}: {index:,} of {len(items):,} …", end="", flush=True)
                shown = time.monotonic()
            yield item
    finally:
        _wipe()


def _wipe() -> None:
    """Erase the progress line on a terminal. Old consoles need blanks for that."""
    if sys.__stdout__ and sys.__stdout__.isatty():
        blanks = " " * (shutil.get_terminal_size().columns - 1)
        print(f"\r{blanks}\r", end="", file=sys.__stdout__, flush=True)


@contextlib.contextmanager
def _noting_interrupts() -> Iterator[list[bool]]:
    """Collect each Ctrl-C during this block in a list, which is yielded, and do nothing else."""
    came: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # only the main thread receives signals
        return
    handler = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay a Ctrl-C until the block has ended."""
    pending: list[bool] = []
    try:
        with _noting_interrupts() as pending:
            yield
    finally:
        if pending:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Let the block handle Ctrl-C itself, without ending the program.

    Yields:
        A function that returns whether Ctrl-C was pressed.
    """
    with _noting_interrupts() as came:
        yield lambda: bool(came)
        if came:
            time.sleep(0.2)  # the parent process passes the same Ctrl-C on a second time


class Keeper:
    """A second process that filters stderr: it drops notes, and holds what a `quiet` block writes.

    Attributes:
        pipe: the descriptor to write to.
    """

    def __init__(self) -> None:
        """Start the process, which writes to the current stderr."""
        sys.stderr.flush()
        self._stderr = os.dup(2)
        self._process = subprocess.Popen([sys.executable, "-ISc", KEEPER], stdin=subprocess.PIPE)
        assert self._process.stdin
        self.pipe = self._process.stdin.fileno()
        at_interrupt(self._process.kill)
        atexit.register(self._end)

    def tell(self, word: str) -> None:
        """Send "hold" to hold the lines that follow, or "forget" to drop the held ones."""
        os.write(self.pipe, f"\0{word}\n".encode())

    def _end(self) -> None:
        """Wait until all lines are shown."""
        sys.stderr.flush()
        os.dup2(self._stderr, 2)
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(5)  # not longer: a child left behind may keep the pipe open


@functools.cache
def _keeper() -> Keeper:
    """Return this process's only `Keeper`, because it has only one descriptor 2."""
    return Keeper()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what the block writes to stderr, unless the process dies in it.

    Use it where C++ code ignores log levels or prints whole graphs, and exceptions report what goes
    wrong. The output goes to a second process. If this process dies in the block, the second one
    shows the last lines.
    """
    sys.stderr.flush()
    keeper, before = _keeper(), os.dup(2)
    os.dup2(keeper.pipe, 2)
    keeper.tell("hold")
    try:
        with contextlib.redirect_stderr(sys.__stderr__):  # a notebook's bypasses descriptor 2
            yield
    finally:
        keeper.tell("forget")
        os.dup2(before, 2)
        os.close(before)


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Hide the start-up notes of TensorFlow and Keras, which the block imports.

    Keras runs on the TensorFlow backend. The versions are printed at the end.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # overrides Keras's settings file
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # 2: errors, no information or warnings
    gc.disable()  # hundreds of modules are imported and kept: collecting garbage would take 0.5 s
    with doing("starting TensorFlow"), quiet():
        yield
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for GPUs now, because that prints notes too
    gc.freeze()
    gc.enable()
    tf.get_logger().setLevel("ERROR")
    # TensorFlow's own converter uses the deprecated interpreter.
    warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")
    print(f"TensorFlow {tf.__version__}, Keras {tf.keras.__version__}")
