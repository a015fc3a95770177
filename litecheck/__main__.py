"""Which commands are there? `litecheck look`, `convert` and `run`, with their options."""

import argparse
import importlib.metadata
import sys
from typing import NoReturn

from litecheck import artifacts, rescue, script

SCALE = "scale of images: 0..1 or -1..1 (default: {})"


class Parser(argparse.ArgumentParser):
    """An argument parser whose error messages have two lines."""

    def error(self, message: str) -> NoReturn:
        """Raise `Failure` with the error and the command that prints the options."""
        words = self.prog.split()[1:]
        raise script.Failure(f"{message}\nTo see its options: {script.command(*words, '--help')}")


def whole_number(text: str) -> int:
    """Return the whole number in a text, if it is 1 or more.

    Raises:
        argparse.ArgumentTypeError: the text is no such number.
    """
    if not text.isdecimal() or not int(text):
        message = f"{text} is not a whole number of 1 or more: give one such as 1"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def parser() -> Parser:
    """Return the parser for all commands."""
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
        "convert", allow_abbrev=False, help="convert a model to every variant, and check each file"
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
    convert.add_argument("--signature", metavar="NAME", help="the SavedModel signature to use")
    convert.add_argument(
        "--batch", metavar="N", type=whole_number, help="fix the batch size to N samples per run"
    )
    convert.add_argument(
        "--loops", action="store_true", help="keep LSTM as a loop, for browsers and the C API"
    )
    convert.add_argument(
        "--float-ends",
        action="store_true",
        help="also make a full-integer file with float32 inputs and outputs",
    )
    convert.add_argument(
        "--output",
        metavar="NAME",
        help="the path of the new files, without suffix (default: that of MODEL)",
    )

    run = commands.add_parser(
        "run",
        allow_abbrev=False,
        help="run a .tflite file, and compare its outputs with the record of its check",
    )
    run.add_argument("file", metavar="FILE.tflite", help="the file to run")
    run.add_argument(
        "--input",
        metavar="PATH",
        help="inputs: .npy or .npz, samples first, or an image or a folder of images (default:"
        " random)",
    )
    run.add_argument(
        "--test",
        metavar="PATH",
        help="inputs and labels, to measure the accuracy: .npz, or a folder with one subfolder of"
        " images per class",
    )
    run.add_argument(
        "--scale", metavar="LOW..HIGH", help=SCALE.format("the one in the file's record, or 0..255")
    )
    return main


def requirements() -> str:
    """Return the packages that conversions need, in the words of `pip install`.

    They come from this package's metadata. A source directory that was never installed has no
    metadata, and gets a fixed list.
    """
    try:
        needed = importlib.metadata.requires("litecheck") or []
    except importlib.metadata.PackageNotFoundError:
        return "tensorflow keras pydot graphviz matplotlib"
    return " ".join(each.split(";")[0].strip() for each in needed if 'extra == "convert"' in each)


def _with_scale(words: list[str]) -> list[str]:
    """Return the words with `--scale` and its value joined by "=".

    Otherwise argparse would take the value -1..1 for an option.
    """
    if "--scale" not in words[:-1]:
        return words
    at = words.index("--scale")
    return [*words[:at], "=".join(words[at : at + 2]), *words[at + 2 :]]


def main(progress: str = "") -> None:
    """Run the command on the command line.

    Args:
        progress: the file in which a conversion keeps its progress. It is given in the separate
            process that converts, and "" elsewhere.
    """
    words = sys.argv[1:2]
    program = " ".join(["litecheck", *[word for word in words if not word.startswith("-")]])
    install = "ai-edge-litert" if words == ["run"] else requirements()
    script.start(program=program, install=install)
    options, unknown = parser().parse_known_args(_with_scale(sys.argv[1:]))
    if unknown:
        remedy = f"To see its options: {script.command(options.command, '--help')}"
        raise script.Failure(f"unrecognized arguments: {' '.join(unknown)}\n{remedy}")
    if options.command == "run":
        from litecheck import running

        running.show(options.file, options.input, options.test, options.scale)
        return
    if options.command == "convert" or not options.model.endswith(".tflite"):
        artifacts.require_model(options.model, to_look=options.command == "look")
        if options.command == "convert" and not progress:
            name = options.output or artifacts.stem(options.model)
            sys.exit(rescue.convert(program, sys.argv[1:], name))
        with script.quiet_start():
            import tensorflow  # noqa: F401 # here, so that the later imports of it stay quiet
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
