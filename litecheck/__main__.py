"""Which commands are there? `litecheck look | convert | run`, and their options."""

import argparse
import importlib.metadata
import sys
from typing import NoReturn

from litecheck import artifacts, rescue, script

SCALE = "scale of images: 0..1 or -1..1 (default: {})"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are two lines."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and how to see the options."""
        words = self.prog.split()[1:]
        raise script.Failure(f"{message}\nIts options: {script.command(*words, '--help')}")


def whole_number(text: str) -> int:
    """Return a whole number of 1 or more."""
    if not text.isdecimal() or not int(text):
        message = f"{text} is not a whole number of 1 or more: give one such as 1"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def parser() -> Parser:
    """Return the parser of all commands."""
    main = Parser(
        prog="litecheck",
        allow_abbrev=False,
        description="Convert a model to .tflite files, check them, and run them.",
    )
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)

    look = commands.add_parser(
        "look", allow_abbrev=False, help="print what is in a model, and draw it"
    )
    look.add_argument(
        "model", metavar="MODEL", help="a Keras archive, a SavedModel directory, or a .tflite file"
    )

    convert = commands.add_parser(
        "convert", allow_abbrev=False, help="convert a model to every variant, and check each"
    )
    convert.add_argument(
        "model", metavar="MODEL", help="a Keras archive (.keras, .h5) or a SavedModel directory"
    )
    convert.add_argument(
        "--samples",
        metavar="PATH",
        help="typical inputs: .npy, .npz, an image or a folder of images (default: NAME.samples.npy"
        " or .npz)",
    )
    convert.add_argument(
        "--test",
        metavar="PATH",
        help="inputs and labels: .npz, or a folder with one subfolder of images per class (default:"
        " NAME.test.npz)",
    )
    convert.add_argument("--scale", metavar="LOW..HIGH", help=SCALE.format("0..255, pixel values"))
    convert.add_argument("--signature", metavar="NAME", help="which of a SavedModel's signatures")
    convert.add_argument(
        "--batch", metavar="N", type=whole_number, help="fix the number of samples in a run to N"
    )
    convert.add_argument(
        "--loops", action="store_true", help="keep LSTM a loop, as browsers and the C API need it"
    )
    convert.add_argument(
        "--float-ends",
        action="store_true",
        help="also make a full-integer file with float32 inputs and outputs",
    )
    convert.add_argument(
        "--output", metavar="NAME", help="where to write: a path without suffix (default: NAME)"
    )

    run = commands.add_parser(
        "run", allow_abbrev=False, help="run a .tflite file, and compare it with its check"
    )
    run.add_argument("file", metavar="FILE.tflite", help="the file")
    run.add_argument(
        "--input",
        metavar="PATH",
        help="its inputs: .npy or .npz, samples first; an image or a folder of images (default:"
        " random)",
    )
    run.add_argument(
        "--test",
        metavar="PATH",
        help="inputs and labels: .npz, or a folder with one subfolder of images per class; prints"
        " how many are right",
    )
    run.add_argument(
        "--scale", metavar="LOW..HIGH", help=SCALE.format("that of the file's record, else 0..255")
    )
    return main


def requirements() -> str:
    """Return what `pip install` needs for conversions, from this package's metadata.

    The directory alone, without `pip install`, has none.
    """
    try:
        needed = importlib.metadata.requires("litecheck") or []
    except importlib.metadata.PackageNotFoundError:
        return "tensorflow keras pydot graphviz matplotlib"
    return " ".join(each.split(";")[0].strip() for each in needed if 'extra == "convert"' in each)


def _with_scale(words: list[str]) -> list[str]:
    """Return the words with an option and its scale as one: -1..1 looks like an option itself."""
    if "--scale" not in words[:-1]:
        return words
    at = words.index("--scale")
    return [*words[:at], "=".join(words[at : at + 2]), *words[at + 2 :]]


def main(progress: str = "") -> None:
    """Run the command that is given.

    Args:
        progress: the file of the progress of a conversion, which runs in a process of its own.
    """
    words = sys.argv[1:2]
    program = " ".join(["litecheck", *[word for word in words if not word.startswith("-")]])
    install = "ai-edge-litert" if words == ["run"] else requirements()
    script.start(program=program, install=install)
    options, unknown = parser().parse_known_args(_with_scale(sys.argv[1:]))
    if unknown:
        remedy = f"Its options: {script.command(options.command, '--help')}"
        raise script.Failure(f"unrecognized arguments: {' '.join(unknown)}\n{remedy}")
    if options.command == "run":
        from litecheck import running

        running.show(options.file, options.input, options.test, options.scale)
        return
    if options.command == "convert" or not options.model.endswith(".tflite"):
        artifacts.require_model(options.model)
        if options.command == "convert" and not progress:
            name = options.output or artifacts.stem(options.model)
            sys.exit(rescue.convert(program, sys.argv[1:], name))
        with script.quiet_start():
            import tensorflow  # noqa: F401 # the modules of conversions import it
    if options.command == "look":
        from litecheck import looking

        looking.look(options.model)
        return
    from litecheck import conversion

    conversion.convert(
        options.model,
        options.output,
        options.samples,
        options.test,
        options.signature,
        options.batch,
        options.loops,
        options.float_ends,
        options.scale,
        rescue.Progress(progress),
    )


if __name__ == "__main__":
    main()
