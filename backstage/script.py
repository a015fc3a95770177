"""How does a stage behave as a program? Options, quiet start-up, errors in one line, Ctrl-C."""

import argparse
import contextlib
import gc
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings

# Reads what is held back until the process at the other end has ended, then shows the last lines of
# it, except notes: those of severity I, and the headline that TensorFlow puts above them.
KEEPER = r"""
import collections, re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
note = re.compile(rb"I\d{4} |INFO: |[-\d]+ [\d:.]+: I |WARNING: All log messages before")
said = (line for line in sys.stdin.buffer if not note.match(line))
sys.stderr.buffer.writelines(collections.deque(said, maxlen=100))
"""


class Failure(Exception):
    """A mistake that the reader can mend: what is wrong and what to do next, in one line or two.

    A script prints it and ends with status 1; a notebook shows it as an exception.
    """


def in_notebook():
    """Return whether cells are run one by one: by a kernel, by PyCharm's console, or typed in.

    Jupyter, VS Code and Spyder have ipykernel, with arguments of their own each.
    """
    return hasattr(sys, "ps1") or not {"ipykernel", "pydevconsole"}.isdisjoint(sys.modules)


def again():
    """Return what to do to try the same once more: the command that was given, or a cell to run."""
    if in_notebook():
        return "run this cell again"
    return f"run again: python {_joined([os.path.basename(sys.argv[0]), *sys.argv[1:]])}"


def command(stage, *arguments):
    """Return the command that runs a stage, to be pasted into a shell.

    Args:
        stage: its number, 1 to 4.
        *arguments: paths and options.
    """
    scripts = [
        "01_create_model.py",
        "02_load_model.py",
        "03_convert_model.py",
        "04_deploy_tflite.py",
    ]
    return f"python {_joined([scripts[stage - 1], *arguments])}"


def _joined(words):
    """Return words as the shell of this system takes them; Windows's file names have no quotes."""
    if os.name != "nt":
        return shlex.join(words)
    return " ".join(word if re.fullmatch(r"[\w.:\\/=-]+", word) else f'"{word}"' for word in words)


def brief(error):
    """Return the message of an exception in one line of at most 500 characters."""
    return " ".join(str(error).split())[:500]


def argument(default, help, check):
    """Describe a stage's argument for `start`.

    Args:
        default: its value when it is not given: a path.
        help: what it is.
        check: a function of the path that raises `Failure` if it does not do.
    """
    help = f"{help} (default: {default})"
    return {"nargs": "?", "default": default, "help": help, "check": check}


def option(metavar, help):
    """Describe an option that takes a text, None when it is not given, for `start`."""
    return {"metavar": metavar, "help": help}


def number(default, help, least, most=None):
    """Describe an option that takes a whole number from `least` to `most` for `start`."""

    def parse(text):
        value = int(text) if text.removeprefix("-").isdecimal() else None
        if value is None or value < least or (most is not None and value > most):
            limits = f"of {least} or more" if most is None else f"from {least} to {most}"
            message = f"{text} is not a whole number {limits}: give one such as {default or least}"
            raise argparse.ArgumentTypeError(message)
        return value

    if default is not None:
        help = f"{help} ({default})"
    return {"default": default, "type": parse, "metavar": "N", "help": help}


def start(description, install="-r requirements.txt", **options):
    """Begin a stage: read its options, and from now on end well on mistakes and on Ctrl-C.

    In a notebook the options keep their defaults, since a kernel has arguments of its own, and
    mistakes and interruptions are exceptions.

    Args:
        description: one sentence for `--help`.
        install: what `pip install` needs when a package is missing.
        **options: what `argument`, `option` and `number` return, by name.

    Returns:
        An `argparse.Namespace` with the value of each option.
    """
    parser = argparse.ArgumentParser(description=description)
    checks = {name: settings.pop("check", None) for name, settings in options.items()}
    for name, settings in options.items():
        parser.add_argument(name if checks[name] else f"--{name}", **settings)

    def mistaken(message):
        sys.exit(f"{parser.prog}: {message}\nIts options: python {parser.prog} --help")

    parser.error = mistaken

    def report(kind, error, traceback):
        if issubclass(kind, ModuleNotFoundError):
            print(f"{parser.prog}: {brief(error)}: run pip install {install}", file=sys.stderr)
        elif issubclass(kind, Failure | OSError):
            print(f"{parser.prog}: {error}", file=sys.stderr)
        else:
            sys.__excepthook__(kind, error, traceback)

    if not in_notebook():
        sys.excepthook = report
        if hasattr(sys.stdout, "reconfigure"):
            # Pipes and files see each line at once, and no name ends a script that a terminal's
            # encoding lacks, such as cp949.
            sys.stdout.reconfigure(line_buffering=True, errors="replace")
        signal.signal(signal.SIGINT, Interrupt(parser.prog))
    values = parser.parse_args([] if in_notebook() else None)
    for name in filter(checks.get, checks):
        checks[name](getattr(values, name))
    return values


class Interrupt:
    """A script's answer to Ctrl-C: tidy up and end at once with status 130.

    TensorFlow loses about every fourth KeyboardInterrupt that is raised inside of it.

    Attributes:
        tidy: functions without arguments that remove what would be left behind.
    """

    def __init__(self, program):
        """Take the program's name, and keep the way to the terminal open while `quiet` holds."""
        self.program, self.stderr, self.tidy = program, os.dup(2), []

    def __call__(self, number, frame):
        """Handle the signal."""
        for function in self.tidy:
            function()
        _wipe()
        os.write(self.stderr, f"{self.program}: interrupted\n".encode())
        sys.__stdout__.flush()
        os._exit(130)


def at_interrupt(function):
    """Have a function called when Ctrl-C ends the script; a notebook's exception ends nothing."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interrupt):
        handler.tidy.append(function)


@contextlib.contextmanager
def doing(what):
    """Say on a terminal what runs in this block; the line is gone when it has ended."""
    if sys.stdout.isatty():
        print(f"{what} …", end="", flush=True)
    try:
        yield
    finally:
        _wipe()


def counted(items, what):
    """Yield the items of a list, and say on a terminal at which of how many it is."""
    shown = time.monotonic()
    for index, item in enumerate(items):
        if sys.stdout.isatty() and time.monotonic() - shown > 0.5:
            _wipe()
            print(f"{what}: {index:,} of {len(items):,} …", end="", flush=True)
            shown = time.monotonic()
        yield item
    _wipe()


def _wipe():
    """Erase the line of a terminal that `doing` wrote: with blanks, as old consoles need it."""
    if sys.__stdout__.isatty():
        blanks = " " * (shutil.get_terminal_size().columns - 1)
        print(f"\r{blanks}\r", end="", file=sys.__stdout__, flush=True)


@contextlib.contextmanager
def uninterrupted():
    """Put off a Ctrl-C until the block has ended."""
    pending = []
    handler = signal.signal(signal.SIGINT, lambda *_: pending.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pending:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def quiet():
    """Hold back what is written to stderr and forget it when the block has ended.

    Use it where C++ code ignores log levels, or prints whole graphs, and exceptions carry what goes
    wrong. If instead the process dies in the block, its last words reach the reader: they went to
    a second process, which shows them then.
    """
    sys.stderr.flush()
    keeper = subprocess.Popen([sys.executable, "-ISc", KEEPER], stdin=subprocess.PIPE)
    at_interrupt(keeper.kill)
    stderr = os.dup(2)
    os.dup2(keeper.stdin.fileno(), 2)
    keeper.stdin.close()
    try:
        with contextlib.redirect_stderr(sys.__stderr__):  # a notebook's leads past descriptor 2
            yield
    finally:
        keeper.kill()
        os.dup2(stderr, 2)
        os.close(stderr)
        keeper.wait()


@contextlib.contextmanager
def quiet_start():
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
