"""How does a file appear whole or not at all? Of which model is it, and is that still the same?"""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile

from backstage import script

ARCHIVES = (".keras", ".h5", ".hdf5")  # of Keras 3, and of Keras 2 and 3


def is_archive(path):
    """Return whether a path is that of a Keras archive, by its suffix."""
    return path.lower().endswith(ARCHIVES)


def archive(path):
    """Raise `Failure` if a Keras archive is not there, or something else is."""
    if os.path.isdir(path) and not is_archive(path):
        way_out = f"python 02_load_model.py {stem(path)}.keras"
        raise script.Failure(f"{path} is a directory, not a Keras archive: {way_out}")
    _require(path, "01_create_model.py", "archive")


def model(path):
    """Raise `Failure` if a SavedModel or a Keras archive is not there."""
    file = path if is_archive(path) else f"{path.rstrip('/')}/saved_model.pb"
    _require(file, "01_create_model.py", "model")


def tflite(path):
    """Raise `Failure` if a `.tflite` file is not there."""
    _require(path, "03_convert_model.py", ".tflite file")


def _require(file, maker, kind):
    if not os.path.isfile(file):
        raise script.Failure(
            f"{file} is missing. Make it with: python {maker}, or name another {kind}"
        )


def stem(path):
    """Return a model's path without suffix: what is made of the model is named after it.

    A directory that is given as `.` or `..` has its name, and what is made lies beside it.
    """
    if is_archive(path):
        return os.path.splitext(path)[0]
    if os.path.basename(path.rstrip("/")) in (".", ".."):
        directory, name = os.path.split(os.path.abspath(path))
        return os.path.join(os.path.relpath(directory), name)
    return path.rstrip("/")


@contextlib.contextmanager
def whole(directory):
    """Yield a directory to write to; what is in it moves to `directory` if nothing went wrong.

    Args:
        directory: where the files are to appear, over those of the same names.

    Raises:
        Failure: a file could not be written or moved. Nothing that was there is damaged.
    """
    try:
        os.makedirs(directory, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=directory, prefix=".new-", ignore_cleanup_errors=True
        ) as aside:
            script.at_interrupt(lambda: shutil.rmtree(aside, ignore_errors=True))
            yield aside
            with script.uninterrupted():
                for name in sorted(os.listdir(aside)):
                    place = os.path.join(directory, name)
                    if os.path.isdir(f"{aside}/{name}") and os.path.isdir(place):
                        os.rename(place, f"{aside}/.replaced")  # a directory is not overwritten
                    os.replace(f"{aside}/{name}", place)
    except Exception as error:
        if isinstance(error, OSError) or "tensorflow" in type(error).__module__:
            remedy = f"Make room there or permit writing, and {script.again()}"
            raise script.Failure(f"cannot save: {script.brief(error)}\n{remedy}") from error
        raise


@contextlib.contextmanager
def whole_file(path):
    """Yield a path to write a file to, which appears at `path` when it is complete; see `whole`."""
    directory, name = os.path.split(path)
    with whole(directory or ".") as aside:
        yield os.path.join(aside, name)


def write(path, content):
    """Write a file's bytes so that it is whole when it appears; see `whole`."""
    with whole_file(path) as aside, open(aside, "wb") as file:
        file.write(content)


def identity(path):
    """Return the file that is another one after every training, and its SHA-256.

    Of a SavedModel it is the fingerprint, which TensorFlow writes since 2.12. Times of files would
    not do: copies and checkouts change them.
    """
    file = path if is_archive(path) else f"{path.rstrip('/')}/fingerprint.pb"
    if not os.path.isfile(file):
        return file, ""
    with open(file, "rb") as content:
        return file, hashlib.sha256(content.read()).hexdigest()


def note(name, identity):
    """Note beside the files which model was converted: its `identity`, in `NAME.source`.

    Args:
        name: the files' path without suffix.
        identity: what the function of that name returned for the model.
    """
    file, digest = identity
    place = os.path.relpath(file, os.path.dirname(name) or ".")
    write(f"{name}.source", f"{digest}  {place}\n".encode())


def changed(path):
    """Return the model that a `.tflite` file was made of if it was trained again since, else None.

    On a device there is neither a note nor a model, and None is returned.
    """
    record = re.sub(r"(\.(quant|dynamic|int8|int16))?\.tflite$", ".source", path)
    if record == path or not os.path.isfile(record):
        return None
    with open(record) as file:
        digest, _, source = file.read().strip().partition("  ")
    source = os.path.join(os.path.dirname(record), source).removesuffix("/fingerprint.pb")
    file, today = identity(source)
    return source if os.path.isfile(file) and today != digest else None
