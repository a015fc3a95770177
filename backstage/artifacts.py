"""How does a file appear whole or not at all? Of which model is it, and is that still the same?"""

import base64
import contextlib
import hashlib
import json
import os
import shutil
import tempfile

from backstage import script

SUFFIXES = (".quant", ".dynamic", ".int8", ".int16")  # of a model's name, before .tflite
ARCHIVES = (".keras", ".h5", ".hdf5")  # of Keras 3, and of Keras 2 and 3
LESSON = "saved_model/my_model"  # what stage 1 writes


def is_lesson(path):
    """Return whether a model's path is that of the lesson, however it is written."""
    return os.path.abspath(stem(path)) == os.path.abspath(LESSON)


def is_archive(path):
    """Return whether a path is that of a Keras archive, by its suffix."""
    return path.lower().endswith(ARCHIVES)


def require_archive(path):
    """Raise `Failure` if a Keras archive is not there, or something else is."""
    if os.path.isdir(path) and not is_archive(path):
        way_out = script.command(2, f"{stem(path)}.keras")
        raise script.Failure(f"{path} is a directory, not a Keras archive: {way_out}")
    _require(path, 1, "archive")


def require_model(path):
    """Raise `Failure` if a SavedModel or a Keras archive is not there."""
    file = path if is_archive(path) else f"{_bare(path)}/saved_model.pb"
    _require(file, 1, "model")


def require_tflite(path):
    """Raise `Failure` if a `.tflite` file is not there."""
    _require(path, 3, ".tflite file")


def _require(file, stage, kind):
    if not os.path.isfile(file):
        make = script.command(stage)
        raise script.Failure(f"{file} is missing. Make it with: {make}, or name another {kind}")


def stem(path):
    """Return a model's path without suffix: what is made of the model is named after it.

    A directory that is given as `.` or `..` has its name, and what is made lies beside it.
    """
    if is_archive(path):
        return os.path.splitext(path)[0]
    if os.path.basename(_bare(path)) in (".", ".."):
        directory, name = os.path.split(os.path.abspath(path))
        return os.path.join(os.path.relpath(directory), name)
    return _bare(path)


def _bare(path):
    """Return a path without the separators of this system at its end."""
    return path.rstrip(f"/{os.sep}")


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


def sha256(content):
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def identity(path):
    """Return the file that is another one after every training, and its SHA-256.

    Of a SavedModel it is the fingerprint, which TensorFlow writes since 2.12, else the index of its
    variables, which has a checksum of each. Times of files would not do: copies and checkouts
    change them.
    """
    names = ("fingerprint.pb", "variables/variables.index", "saved_model.pb")
    files = [path] if is_archive(path) else [os.path.join(path, name) for name in names]
    file = next(filter(os.path.isfile, files))
    with open(file, "rb") as content:
        return file, sha256(content.read())


def relative(path, name):
    """Return a path as seen from the directory of NAME, with `/` on every system.

    On Windows one of another drive stays whole.
    """
    try:
        path = os.path.relpath(path, os.path.dirname(name) or ".")
    except ValueError:
        path = os.path.abspath(path)
    return path.replace(os.sep, "/")


def packed(array):
    """Return an array as an object of JSON: its dtype, its shape, and base64 of its bytes.

    The bytes are little-endian; complex numbers are two each, and texts have zeros at their ends.
    NumPy reads it with `np.frombuffer(base64.b64decode(o["base64"]), o["dtype"])`.
    """
    if array.dtype.kind in "OU":
        array = array.astype("S")
    content = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return {
        "dtype": array.dtype.str[1:] if array.dtype.kind == "S" else array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(content).decode("ascii"),
    }


def note(name, proof):
    """Write the proof of a conversion beside its files, as `NAME.proof.json`.

    Args:
        name: the files' path without suffix.
        proof: a dict for `json.dumps`.
    """
    write(f"{name}.proof.json", f"{json.dumps(proof, indent=1, allow_nan=False)}\n".encode())


def proof(path):
    """Return the proof beside a `.tflite` file and the part of its variant, or None and None.

    Raises:
        Failure: the proof is damaged.
    """
    whole, name = os.path.splitext(path)[0], os.path.basename(path)
    for model in (whole, os.path.splitext(whole)[0]):
        file = f"{model}.proof.json"
        if not os.path.isfile(file):
            continue
        try:
            with open(file, encoding="utf-8") as content:
                found = json.load(content)
            source = found["model"]
            if not {type(source[key]) for key in ("path", "file", "sha256")} == {str}:
                raise TypeError
            found["original"].get("threshold")
            for variant in found["variants"].values():
                if variant["file"] == name:
                    return found, variant
            if model != whole and os.path.splitext(whole)[1] in SUFFIXES:  # tried earlier only
                return found, {}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise damaged(file) from error
    return None, None


def damaged(file):
    """Return the `Failure` for a damaged proof, to be raised."""
    return script.Failure(f"{file} is damaged: remove it, and run {script.command(3)}")


def threshold(path):
    """Return the thresholds in a `.tflite` file's proof, a dict by outputs.

    Above it an answer means yes. The original's answers decide on it, which a device does not have.
    """
    found, _ = proof(path)
    return found["original"].get("threshold", {}) if found else {}


def changed(path):
    """Return why a `.tflite` file is not the latest of its model, and what to do; None if it is.

    Without a proof None is returned.
    """
    found, variant = proof(path)
    if not found:
        return None
    beside = os.path.dirname(path) or "."
    source = os.path.normpath(os.path.join(beside, found["model"]["path"]))
    remedy = f"run {script.command(3, source)}"
    file = os.path.join(beside, found["model"]["file"])
    if os.path.isfile(file):
        with open(file, "rb") as content:
            if sha256(content.read()) != found["model"]["sha256"]:
                return f"{source} has changed: {remedy}"
    with open(path, "rb") as content:
        if sha256(content.read()) == variant.get("sha256"):
            return None
    why = f" ({variant['not_written']})" if "not_written" in variant else ""
    return f"{path} has changed: it is not of the last conversion{why}. To convert again, {remedy}"
