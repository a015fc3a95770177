"""How are files saved and named? A file appears complete or not at all."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from litecheck import script


class Variant(NamedTuple):
    """The file suffix of a variant, and its color in figures.

    Attributes:
        suffix: what follows the model's name.
        color: a color that color-blind readers can tell apart (Okabe and Ito, "Color Universal
            Design", 2008). The variant with float ends, which exists only on request, is dark grey.
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
ASIDE = ".new-{}-"  # the prefix, with the process's number, of what it has not completed yet
ARCHIVES = (".keras", ".h5", ".hdf5")  # suffixes: the first of Keras 3, the others of 2 and 3


def as_text(given: Any) -> Any:
    """Return a `pathlib.Path` as a string, and anything else unchanged."""
    return os.fspath(given) if isinstance(given, os.PathLike) else given


def is_archive(path: str) -> bool:
    """Return whether a path has the suffix of a Keras archive."""
    return path.lower().endswith(ARCHIVES)


def require_model(path: str, to_look: bool = False) -> None:
    """Raise `Failure` unless the path is an existing Keras archive or SavedModel.

    The command `look` also takes a `.tflite` file, which the error then names.
    """
    if is_archive(path):
        require_file(path)
    elif path.endswith(".tflite") and os.path.isfile(path):
        raise script.Failure(
            f"{path} is converted already. To run it: {script.command('run', path)}"
        )
    elif not is_model(path):
        kind = "is not a model" if os.path.exists(path) else "is missing"
        kinds = "a Keras archive (.keras, .h5) or the directory of a SavedModel"
        if to_look:
            kinds = f"a .tflite file, {kinds}"
        raise script.Unreadable(f"{path} {kind}", f": name {kinds}")


def is_model(path: str) -> bool:
    """Return whether the path is an existing Keras archive or SavedModel."""
    return os.path.isfile(path if is_archive(path) else f"{_bare(path)}/saved_model.pb")


def require_tflite(path: str) -> None:
    """Raise `Failure` unless the path is an existing file that is not a model to convert."""
    if is_model(path):
        convert = script.command("convert", path)
        raise script.Failure(f"{path} is not converted yet. Convert it first: {convert}")
    if os.path.isdir(path):
        raise script.Failure(f"{path} is a directory: name a .tflite file")
    require_file(path)


def require_file(path: str) -> None:
    """Raise `Failure` unless the file exists."""
    if not os.path.isfile(path):
        raise script.Failure(f"{path} is missing: name a file that exists")


def stem(path: str) -> str:
    """Return a model's path without suffix, which is the NAME of all its files.

    A directory given as `.` or `..` gets its real name, so that the files are saved beside it.
    """
    if is_archive(path):
        return os.path.splitext(path)[0]
    if os.path.basename(_bare(path)) in (".", ".."):
        directory, name = os.path.split(os.path.abspath(path))
        return os.path.join(os.path.relpath(directory), name)
    return _bare(path)


def name_of(path: str) -> str:
    """Return the NAME in the path of a variant's file, such as `NAME.int8.tflite`."""
    suffixes = sorted((variant.suffix for variant in VARIANTS.values()), key=len, reverse=True)
    return next((path.removesuffix(end) for end in suffixes if path.endswith(end)), path)


def _bare(path: str) -> str:
    """Return a path without the separators at its end."""
    return path.rstrip(f"/{os.sep}")


@contextlib.contextmanager
def saving() -> Iterator[None]:
    """Turn an error from saving in this block into a `Failure` that says what to do.

    Raises:
        Failure: the block cannot save. The disk may be full, or writing may not be permitted.
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
    """Yield a temporary directory, and move its content to `directory` if the block succeeds.

    Args:
        directory: where the files appear. Files of the same names are replaced.

    Raises:
        Failure: a file could not be written or moved. The old files are not damaged.
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
                        os.rename(place, f"{aside}/.replaced")  # a directory cannot be overwritten
                    os.replace(f"{aside}/{name}", place)


@contextlib.contextmanager
def atomic_file(path: str) -> Iterator[str]:
    """Yield a temporary path, and move the file written there to `path` if the block succeeds.

    Raises:
        Failure: see `atomic_directory`.
    """
    directory, name = os.path.split(path)
    with atomic_directory(directory or ".") as aside:
        yield os.path.join(aside, name)


def write(path: str, content: bytes) -> None:
    """Write bytes to a file, which appears only when it is complete; see `atomic_directory`."""
    with atomic_file(path) as aside, open(aside, "wb") as file:
        file.write(content)


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes as hexadecimal text."""
    return hashlib.sha256(content).hexdigest()


def read_if(path: str, digest: str | None) -> bytes | None:
    """Return a file's content if its SHA-256 is the digest, or None."""
    if digest is None or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        content = file.read()
    return content if sha256(content) == digest else None


def identity(path: str) -> tuple[str, str]:
    """Return a file of a model that changes with every training, and the SHA-256 of the file.

    For an archive this is the archive itself. For a SavedModel it is the fingerprint, which
    TensorFlow writes since 2.12, or else the index of its variables, which has a checksum of each.
    File times would not work, because copies and checkouts change them.
    """
    names = ("fingerprint.pb", "variables/variables.index", "saved_model.pb")
    files = [path] if is_archive(path) else [os.path.join(path, name) for name in names]
    file = next(filter(os.path.isfile, files))
    with open(file, "rb") as content:
        return file, sha256(content.read())


def relative(path: str, name: str) -> str:
    """Return a path relative to the directory of NAME, with `/` on every system.

    On Windows a path on another drive stays absolute.
    """
    try:
        path = os.path.relpath(path, os.path.dirname(name) or ".")
    except ValueError:
        path = os.path.abspath(path)
    return path.replace(os.sep, "/")
