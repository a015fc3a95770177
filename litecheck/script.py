"""How does a command behave? Quiet start-up, errors in one line, Ctrl-C."""

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

# Passes on what comes from descriptor 2, except notes: those of severity I, the headline that
# TensorFlow puts above them, and a line of its quantizer. Between "hold" and "forget" the lines are
# kept, and shown only if the other process ends there.
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
    """An error that the user can fix: what is wrong and what to do next, in one line or two.

    A command prints it and ends with status 1. In a notebook it is an exception.
    """


class Unreadable(Failure):
    """A model, or a record of a check, that is missing or damaged.

    A script that knows the command which makes it says that in place of what to do next.

    Attributes:
        reason: what is wrong.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        """Take what is wrong and what to do next, with the punctuation between them."""
        super().__init__(f"{reason}{remedy}")
        self.reason = reason


def in_notebook() -> bool:
    """Return whether cells are run one by one: by a kernel, by PyCharm's console, or typed in.

    Jupyter, VS Code and Spyder have ipykernel, with arguments of their own each.
    """
    return hasattr(sys, "ps1") or not {"ipykernel", "pydevconsole"}.isdisjoint(sys.modules)


def again() -> str:
    """Return what to do to try the same once more: the command that was given, or a cell to run."""
    if in_notebook():
        return "run this cell again"
    program, *arguments = sys.argv
    if os.path.basename(program) in ("__main__.py", "litecheck", "litecheck.exe"):
        return f"run again: {command(*arguments)}"
    return f"run again: {joined(['python', os.path.basename(program), *arguments])}"


def command(*arguments: str) -> str:
    """Return a command of litecheck, to be pasted into a shell."""
    return joined(["python", "-m", "litecheck", *arguments])


def joined(words: Sequence[str]) -> str:
    """Return words as the shell of this system takes them; Windows's file names have no quotes."""
    if os.name != "nt":
        return shlex.join(words)
    return " ".join(word if re.fullmatch(r"[\w.:\\/=-]+", word) else f'"{word}"' for word in words)


def interpreter(code: str) -> list[str]:
    """Return the command that runs code in another Python, which finds what this one finds."""
    return [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path}; {code}"]


def end_of(status: int) -> str:
    """Return how a process ended, from its status: the name of a signal, or the number."""
    try:
        return signal.Signals(-status).name
    except ValueError:  # as on Windows
        return f"status {status}"


def brief(error: object) -> str:
    """Return the message of an exception in one line of at most 500 characters."""
    return " ".join(str(error).split())[:500]


def start(
    reads: Collection[str] = (),
    made_by: str = "",
    install: str = ".[convert]",
    program: str = "",
) -> None:
    """Begin a script or a command: from now on it is quiet, and ends well on errors and on Ctrl-C.

    A missing file, or one that cannot be read, is reported in one line, with the command that makes
    it. In a notebook errors and interruptions are exceptions.

    Args:
        reads: the files and directories that a script reads.
        made_by: the command that makes them.
        install: what `pip install` needs when a package is missing, words without spaces in them.
        program: the name of a command, which has read its arguments itself; a script takes none.

    Raises:
        Failure: a file is missing, or there are arguments.
    """
    name = program or os.path.basename(sys.argv[0])
    _open_what_is_closed()
    if not in_notebook():
        sys.excepthook = functools.partial(_report, name, install, made_by, reads)
        if hasattr(sys.stdout, "reconfigure"):
            # Pipes and files see each line at once, and no name ends a script that a terminal's
            # encoding lacks, such as cp949.
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
    """Lead stdout and stderr nowhere if they are closed, as by `>&-`; else a file would take them.

    Descriptors are given in their order, so those of the null device take their places.
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
    """Print an exception: one that the user can fix in its own words, any other with its trace."""
    file, remedy = _unreadable(trace, reads), f"it again with: {made_by}"
    if issubclass(kind, ModuleNotFoundError):
        remedy = joined(["pip", "install", *install.split()])
        print(f"{program}: {brief(error)}: run {remedy}", file=sys.stderr)
    elif file and not issubclass(kind, Failure):
        reason = f"{file} cannot be read: {brief(error)}"  # or the call has a slip
        print(f"{program}: {reason}\nIf the file is damaged, make {remedy}", file=sys.stderr)
    elif isinstance(error, Unreadable) and made_by:
        print(f"{program}: {error.reason}\nMake {remedy}", file=sys.stderr)
    elif issubclass(kind, Failure | OSError):
        print(f"{program}: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _unreadable(trace: TracebackType | None, reads: Collection[str]) -> str | None:
    """Return which of some files was given to the call of a library that failed, or None.

    This package reports what it cannot read itself.
    """
    frames: list[FrameType] = []
    for frame, _ in traceback.walk_tb(trace):  # those after the script's own
        frames = [] if frame.f_globals.get("__name__") == "__main__" else [*frames, frame]
    if frames and frames[0].f_globals.get("__package__") == __package__:
        return None
    for frame in frames:
        texts = {value for value in frame.f_locals.values() if isinstance(value, str)}
        if found := texts.intersection(reads):
            return found.pop()
    return None


class Interrupt:
    """A program's response to Ctrl-C: tidy up and end at once with status 130.

    TensorFlow loses about every fourth KeyboardInterrupt that is raised inside of it.

    Attributes:
        tidy: functions without arguments that remove what would be left behind.
    """

    def __init__(self, program: str) -> None:
        """Take the program's name, and keep the way to the terminal open."""
        self.program, self.stderr = program, os.dup(2)
        self.tidy: list[Callable[[], object]] = []

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        tidy()
        _wipe()
        os.write(self.stderr, f"{self.program}: interrupted\n".encode())
        if sys.__stdout__:
            sys.__stdout__.flush()
        os._exit(130)


def at_interrupt(function: Callable[[], object]) -> None:
    """Have a function called when Ctrl-C ends the program; a notebook's exception ends nothing."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interrupt):
        handler.tidy.append(function)


def tidy() -> None:
    """Call the functions that were given to `at_interrupt`, before a program ends at once."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interrupt):
        for function in handler.tidy:
            function()


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """Say on a terminal what runs in this block; the line is gone when it has ended."""
    if sys.stdout.isatty():
        print(f"{what} …", end="", flush=True)
    try:
        yield
    finally:
        _wipe()


def counted(items: Sequence[T], what: str) -> Iterator[T]:
    """Yield the items of a list, and say on a terminal at which of how many it is."""
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
    """Erase the line of a terminal that `doing` wrote: with blanks, as old consoles need it."""
    if sys.__stdout__ and sys.__stdout__.isatty():
        blanks = " " * (shutil.get_terminal_size().columns - 1)
        print(f"\r{blanks}\r", end="", file=sys.__stdout__, flush=True)


@contextlib.contextmanager
def _noting_interrupts() -> Iterator[list[bool]]:
    """Note each Ctrl-C of this block in a list, which is yielded; it does nothing else then."""
    came: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # signals reach the main thread only
        return
    handler = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off a Ctrl-C until the block has ended."""
    pending: list[bool] = []
    try:
        with _noting_interrupts() as pending:
            yield
    finally:
        if pending:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C end what this block does, and not the program.

    Yields:
        A function that returns whether it came.
    """
    with _noting_interrupts() as came:
        yield lambda: bool(came)
        if came:
            time.sleep(0.2)  # the process outside passes the same Ctrl-C on once more


class Keeper:
    """A second process that leaves out notes, and holds back what is said in a `quiet` block.

    Attributes:
        pipe: a descriptor that leads to it.
    """

    def __init__(self) -> None:
        """Start the process, which writes to what is stderr now."""
        sys.stderr.flush()
        self._stderr = os.dup(2)
        self._process = subprocess.Popen([sys.executable, "-ISc", KEEPER], stdin=subprocess.PIPE)
        assert self._process.stdin
        self.pipe = self._process.stdin.fileno()
        at_interrupt(self._process.kill)
        atexit.register(self._end)

    def tell(self, word: str) -> None:
        """Say what is to happen with the lines that follow: "hold" or "forget"."""
        os.write(self.pipe, f"\0{word}\n".encode())

    def _end(self) -> None:
        """Wait until all that was said is shown."""
        sys.stderr.flush()
        os.dup2(self._stderr, 2)
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(5)  # a process that this one has left behind may hold the pipe


@functools.cache
def _keeper() -> Keeper:
    """Return this process's `Keeper`; it has one, as it has one descriptor 2."""
    return Keeper()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back what is written to stderr and forget it when the block has ended.

    Use it where C++ code ignores log levels, or prints whole graphs, and exceptions carry what goes
    wrong. If instead the process dies in the block, its last words reach the user: they went to a
    second process, which shows them then.
    """
    sys.stderr.flush()
    keeper, before = _keeper(), os.dup(2)
    os.dup2(keeper.pipe, 2)
    keeper.tell("hold")
    try:
        with contextlib.redirect_stderr(sys.__stderr__):  # a notebook's leads past descriptor 2
            yield
    finally:
        keeper.tell("forget")
        os.dup2(before, 2)
        os.close(before)


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Import TensorFlow and Keras in this block: without start-up notes, Keras on TensorFlow."""
    os.environ["KERAS_BACKEND"] = "tensorflow"  # goes before Keras's settings file
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # 2: errors, no information or warnings
    gc.disable()  # hundreds of modules are imported to stay: looking for garbage takes 0.5 s
    with doing("starting TensorFlow"), quiet():
        yield
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for GPUs, which has its own notes
    gc.freeze()
    gc.enable()
    tf.get_logger().setLevel("ERROR")
    # The converter uses what TensorFlow calls deprecated.
    warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")
    print(f"TensorFlow {tf.__version__}, Keras {tf.keras.__version__}")
