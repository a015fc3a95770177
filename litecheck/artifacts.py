"""How does a file appear whole or not at all, and what is it called?"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from litecheck import script


class Variant(NamedTuple):
    """How a variant's file is called, and how it is drawn.

    Attributes:
        suffix: what follows the model's name.
        color: Okabe and Ito's, "Color Universal Design", 2008, told apart by the colour-blind; a
            dark grey is that of the variant which is asked for.
    """

    suffix: str
    color: str


INTEGERS, FLOAT_ENDS, PART = "full integer", "full integer, float ends", "part integer"
VARIANTS = {
    "float32": Variant(".tflite", "#0072B2"),
    "float16": Variant(".quant.tflite", "#E69F00"),
    "dynamic range": Variant(".dynamic.tflite", "#009E73"),
    INTEGERS: Variant(".int8.tflite", "#D55E00"),
    FLOAT_ENDS: Variant(".int8.float-ends.tflite", "#555555"),
    PART: Variant(".mixed.tflite", "#56B4E9"),
    "16-bit int": Variant(".int16.tflite", "#CC79A7"),
}
ASIDE = ".new-{}-"  # how what a process makes is called until it is complete, with its number
ARCHIVES = (".keras", ".h5", ".hdf5")  # of Keras 3, and of Keras 2 and 3


def as_text(given: Any) -> Any:
    """Return a `pathlib.Path` as a text, and anything else as it is."""
    return os.fspath(given) if isinstance(given, os.PathLike) else given


def is_archive(path: str) -> bool:
    """Return whether a path is that of a Keras archive, by its suffix."""
    return path.lower().endswith(ARCHIVES)


def require_model(path: str) -> None:
    """Raise `Failure` if a SavedModel or a Keras archive is not there."""
    if is_archive(path):
        require_file(path)
    elif path.endswith(".tflite") and os.path.isfile(path):
        raise script.Failure(
            f"{path} is converted already. To run it: {script.command('run', path)}"
        )
    elif not is_model(path):
        kind = "is not a model" if os.path.exists(path) else "is missing"
        remedy = ": name a Keras archive (.keras, .h5) or the directory of a SavedModel"
        raise script.Unreadable(f"{path} {kind}", remedy)


def is_model(path: str) -> bool:
    """Return whether a SavedModel or a Keras archive is there."""
    return os.path.isfile(path if is_archive(path) else f"{_bare(path)}/saved_model.pb")


def require_tflite(path: str) -> None:
    """Raise `Failure` if a `.tflite` file is not there, or something else is."""
    if is_model(path):
        convert = script.command("convert", path)
        raise script.Failure(f"{path} is not converted yet. Convert it first: {convert}")
    if os.path.isdir(path):
        raise script.Failure(f"{path} is a directory: name a .tflite file")
    require_file(path)


def require_file(path: str) -> None:
    """Raise `Failure` if a file is not there."""
    if not os.path.isfile(path):
        raise script.Failure(f"{path} is missing: name a file that exists")


def stem(path: str) -> str:
    """Return a model's path without suffix: what is made of the model is named after it.

    A directory that is given as `.` or `..` has its name, and what is made is saved beside it.
    """
    if is_archive(path):
        return os.path.splitext(path)[0]
    if os.path.basename(_bare(path)) in (".", ".."):
        directory, name = os.path.split(os.path.abspath(path))
        return os.path.join(os.path.relpath(directory), name)
    return _bare(path)


def name_of(path: str) -> str:
    """Return NAME of `NAME.int8.tflite`, or of any variant's file."""
    suffixes = sorted((variant.suffix for variant in VARIANTS.values()), key=len, reverse=True)
    return next((path.removesuffix(end) for end in suffixes if path.endswith(end)), path)


def _bare(path: str) -> str:
    """Return a path without the separators of this system at its end."""
    return path.rstrip(f"/{os.sep}")


@contextlib.contextmanager
def saving() -> Iterator[None]:
    """Save in this block, and say in two lines why that failed and what to do.

    Raises:
        Failure: there is no room, or writing is not permitted.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or "tensorflow" in type(error).__module__:
            remedy = f"Make room there or permit writing, and {script.again()}"
            raise script.Failure(f"cannot save: {script.brief(error)}\n{remedy}") from error
        raise


@contextlib.contextmanager
def atomic_directory(directory: str) -> Iterator[str]:
    """Yield a directory to write to; what is in it moves to `directory` if nothing went wrong.

    Args:
        directory: where the files are to appear, over those of the same names.

    Raises:
        Failure: a file could not be written or moved. Nothing that was there is damaged.
    """
    with saving():
        os.makedirs(directory, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=directory, prefix=ASIDE.format(os.getpid()), ignore_cleanup_errors=True
        ) as aside:
            script.at_interrupt(lambda: shutil.rmtree(aside, ignore_errors=True))
            yield aside
            with script.uninterrupted():
                for name in sorted(os.listdir(aside)):
                    place = os.path.join(directory, name)
                    if os.path.isdir(f"{aside}/{name}") and os.path.isdir(place):
                        os.rename(place, f"{aside}/.replaced")  # a directory is not overwritten
                    os.replace(f"{aside}/{name}", place)


@contextlib.contextmanager
def atomic_file(path: str) -> Iterator[str]:
    """Yield a path to write a file to, which appears at `path` when it is complete.

    Raises:
        Failure: see `atomic_directory`.
    """
    directory, name = os.path.split(path)
    with atomic_directory(directory or ".") as aside:
        yield os.path.join(aside, name)


def write(path: str, content: bytes) -> None:
    """Write a file's bytes so that it is whole when it appears; see `atomic_directory`."""
    with atomic_file(path) as aside, open(aside, "wb") as file:
        file.write(content)


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_if(path: str, digest: str | None) -> bytes | None:
    """Return a file's content if it has this SHA-256, else None."""
    if digest is None or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        content = file.read()
    return content if sha256(content) == digest else None


def identity(path: str) -> tuple[str, str]:
    """Return the file that changes with every training, and its SHA-256.

    Of a SavedModel it is the fingerprint, which TensorFlow writes since 2.12, else the index of its
    variables, which has a checksum of each. Times of files would not do: copies and checkouts
    change them.
    """
    names = ("fingerprint.pb", "variables/variables.index", "saved_model.pb")
    files = [path] if is_archive(path) else [os.path.join(path, name) for name in names]
    file = next(filter(os.path.isfile, files))
    with open(file, "rb") as content:
        return file, sha256(content.read())


def relative(path: str, name: str) -> str:
    """Return a path as seen from the directory of NAME, with `/` on every system.

    On Windows one of another drive stays whole.
    """
    try:
        path = os.path.relpath(path, os.path.dirname(name) or ".")
    except ValueError:
        path = os.path.abspath(path)
    return path.replace(os.sep, "/")
