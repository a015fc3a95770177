"""Which class does a model predict, and what is its name?

Names come from a file or from the folders of a test set.
"""

import os
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from litecheck import images, script

SUFFIX = ".labels.txt"  # ends the name of the file beside a model, which has one name per line
SHOWN, COUNTED = 3, 10  # how many likely classes or frequent mistakes, and how many counts to print
LEAST = 0.0005  # the smallest probability to print, because less would be 0.0%


class Names(NamedTuple):
    """The names of the classes.

    Attributes:
        names: the names in the order of the outputs, or [] if they are not known.
        file: the path of the file in which the user can give names.
    """

    names: Sequence[str]
    file: str

    def of(self, number: int, count: int | None) -> str:
        """Return the name of a class, or its number unless there are names for `count` classes."""
        name = self.names[number] if len(self.names) == count else str(number)
        return "".join(each if each.isprintable() else "?" for each in name)


def count_of(shape: Sequence[int | None]) -> int | None:
    """Return how many classes an output of this shape tells apart, or None if that varies.

    An output of one number per sample tells two classes apart.
    """
    return 2 if len(shape) < 2 or shape[-1] == 1 else shape[-1]


def known(name: str, counts: Collection[int | None], test: Any) -> Names:
    """Return the names in `NAME.labels.txt`, or those of the folders of a test set.

    Args:
        name: the path of a model without suffix.
        counts: the numbers of classes of the outputs. Other numbers of names are ignored.
        test: the test set, which may be a folder.

    Raises:
        Failure: the file is not text.
    """
    file = f"{name}{SUFFIX}"
    names: Sequence[str] = _lines(file) if os.path.isfile(file) else []
    if names and len(names) not in counts:
        print(f"{file} is left out: it has {len(names):,} names, but no output has as many numbers")
        names = []
    if not names and isinstance(test, str) and os.path.isdir(test):
        found = images.folders(test)
        names = found if len(found) in counts else []
    return Names(names, file)


def _lines(file: str) -> list[str]:
    """Return the lines of a file of names, without empty lines at its end."""
    try:
        with open(file, encoding="utf-8-sig") as text:
            return [line.strip() for line in text.read().rstrip().split("\n")]
    except UnicodeDecodeError as error:
        message = f"{file} is not text: save it as UTF-8, with one name per line"
        raise script.Failure(message) from error


def of_folders(folder: str, names: Names, count: int | None) -> tuple[list[str], np.ndarray]:
    """Return the images of a test set with one folder per class, and their labels.

    Args:
        folder: the folder of the test set.
        names: the names of the classes. If none are known, the folders in sorted order are the
            classes.
        count: how many classes the output has.

    Returns:
        The paths of n images, and their labels: int64 (n,).

    Raises:
        Failure: the path is not a folder, or the folder holds no images.
        ValueError: the subfolders do not match the classes.
    """
    if not os.path.isdir(folder):
        raise script.Failure(
            f"{folder} is not a test set: give a folder with one subfolder of images per class, or"
            " a .npz file"
        )
    found = images.folders(folder)
    if not found:
        raise ValueError(
            "it has no subfolders: put the images of each class in a subfolder with its name"
        )
    if not names.names and len(found) != count:
        raise ValueError(
            f"it has {len(found):,} subfolders, but the model has {count} classes: write the names"
            f" of all {count} classes in {names.file}, and no others, one per line, in the order of"
            " the output"
        )
    order = [_composed(name) for name in names.names or found]
    doubled = [name for name in found if order.count(_composed(name)) > 1]
    if doubled:
        raise ValueError(
            f"{doubled[0]!r} is the name of two classes: give each class a name of its own"
        )
    unknown = [name for name in found if _composed(name) not in order]
    if unknown:
        some = ", ".join(order[:COUNTED])
        raise ValueError(
            f"its subfolder {unknown[0]!r} is not one of the classes ({some}): rename it, or move"
            " it out of the test set"
        )
    every = images.files(folder)
    classes = [os.path.relpath(file, folder).split(os.sep)[0] for file in every]
    kept = [index for index, name in enumerate(classes) if name in found]
    if len(kept) < len(every):
        print(f"left out images in no class's folder: {len(every) - len(kept):,} of {folder}")
    labels = np.array([order.index(_composed(classes[index])) for index in kept], np.int64)
    return [every[index] for index in kept], labels


def _composed(name: str) -> str:
    """Return a name with composed characters, because some systems decompose accents and Hangul."""
    return unicodedata.normalize("NFC", name)


def largest(probabilities: np.ndarray, names: Names) -> str:
    """Return the three largest of k probabilities as text, such as "eight 95.7%, three 2.1%".

    A class that would have 0.0% is left out, except for the first.
    """
    count = len(probabilities)
    order = [int(number) for number in np.argsort(-probabilities, kind="stable")[:SHOWN]]
    shown = [number for number in order if number == order[0] or probabilities[number] >= LEAST]
    return ", ".join(f"{names.of(number, count)} {probabilities[number]:.1%}" for number in shown)


def counts(probabilities: np.ndarray, names: Names) -> str:
    """Return how many of n samples are of each class as text, from the probabilities (n, k)."""
    found = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    order = [int(number) for number in np.argsort(-found, kind="stable") if found[number]]
    text = ", ".join(
        f"{names.of(number, len(found))} {found[number]:,}" for number in order[:COUNTED]
    )
    return f"{text}, and {len(order) - COUNTED:,} more classes" if len(order) > COUNTED else text


def mistakes(pairs: Mapping[tuple[int, int], int], names: Names, count: int | None) -> list[str]:
    """Return the three most frequent mistakes as texts, such as "4 of 54 nine called four".

    Args:
        pairs: how often each pair of a label and a predicted class occurs.
        names: the names of the classes.
        count: how many classes there are, or None if that is not known.
    """
    wrong = [(number, true, given) for (true, given), number in pairs.items() if true != given]
    totals: dict[int, int] = {}
    for (true, _), number in pairs.items():
        totals[true] = totals.get(true, 0) + number
    return [
        f"{number:,} of {totals[true]:,} {names.of(true, count)} called {names.of(given, count)}"
        for number, true, given in sorted(wrong, key=lambda each: (-each[0], *each[1:]))[:SHOWN]
    ]
