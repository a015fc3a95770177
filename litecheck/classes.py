"""Which class is it, and what is it called? Names of a file or of folders, the largest outputs."""

import os
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from litecheck import images, script

SUFFIX = ".labels.txt"  # of the file with a name in each line, beside a model
SHOWN, COUNTED = 3, 10  # the largest outputs, or the most frequent mistakes; the counts
LEAST = 0.0005  # a probability that is shown


class Names(NamedTuple):
    """What the classes are called.

    Attributes:
        names: in the order of the outputs; none if they are not known.
        file: where they can be given.
    """

    names: Sequence[str]
    file: str

    def of(self, number: int, count: int | None) -> str:
        """Return the name of a class of so many, or its number."""
        name = self.names[number] if len(self.names) == count else str(number)
        return "".join(each if each.isprintable() else "?" for each in name)


def count_of(shape: Sequence[int | None]) -> int | None:
    """Return how many classes an output of a shape can tell apart; None if that varies.

    A single number tells two.
    """
    return 2 if len(shape) < 2 or shape[-1] == 1 else shape[-1]


def known(name: str, counts: Collection[int | None], test: Any) -> Names:
    """Return the names in `NAME.labels.txt`, or of the folders of a test set.

    Args:
        name: the path of a model without suffix.
        counts: how many classes the outputs have.
        test: what may be the folder of a test set.

    Raises:
        Failure: the file is no text.
    """
    file = f"{name}{SUFFIX}"
    names: Sequence[str] = _lines(file) if os.path.isfile(file) else []
    if names and len(names) not in counts:
        print(f"{file} is left out: it has {len(names):,} names, and no output as many numbers")
        names = []
    if not names and isinstance(test, str) and os.path.isdir(test):
        found = images.folders(test)
        names = found if len(found) in counts else []
    return Names(names, file)


def _lines(file: str) -> list[str]:
    """Return the lines of a file of names; those that are empty at its end do not count."""
    try:
        with open(file, encoding="utf-8-sig") as text:
            return [line.strip() for line in text.read().rstrip().split("\n")]
    except UnicodeDecodeError as error:
        raise script.Failure(f"{file} is no text: save it as UTF-8, with a name a line") from error


def of_folders(folder: str, names: Names, count: int | None) -> tuple[list[str], np.ndarray]:
    """Return the images in the folders of classes, and the numbers of their classes.

    Args:
        folder: in which these are.
        names: where none are known, the folders' names in their order are.
        count: how many classes the output has.

    Returns:
        The paths, and int64 (n,).

    Raises:
        Failure: it is an image, or holds none.
        ValueError: its folders are not the classes.
    """
    if not os.path.isdir(folder):
        raise script.Failure(
            f"{folder} is no test set: give a folder with one subfolder of images per class, or a"
            " .npz file"
        )
    found = images.folders(folder)
    if not found:
        raise ValueError("it has no subfolders: put the images of each class in one of its name")
    if not names.names and len(found) != count:
        raise ValueError(
            f"it has {len(found):,} subfolders, but the model {count} classes: write the names of"
            f" all classes in {names.file}, one a line, in the order of the output"
        )
    order = [_composed(name) for name in names.names or found]
    unknown = [name for name in found if _composed(name) not in order]
    if unknown:
        some = ", ".join(order[:COUNTED])
        raise ValueError(f"its subfolder {unknown[0]!r} is none of the classes ({some})")
    doubled = [name for name in found if order.count(_composed(name)) > 1]
    if doubled:
        raise ValueError(f"{doubled[0]!r} is the name of two classes: give each its own")
    every = images.files(folder)
    classes = [os.path.relpath(file, folder).split(os.sep)[0] for file in every]
    kept = [index for index, name in enumerate(classes) if name in found]
    if len(kept) < len(every):
        print(f"left out what is in no class's folder: {len(every) - len(kept):,} of {folder}")
    labels = np.array([order.index(_composed(classes[index])) for index in kept], np.int64)
    return [every[index] for index in kept], labels


def _composed(name: str) -> str:
    """Return a name with composed characters: some systems take accents and Hangul apart."""
    return unicodedata.normalize("NFC", name)


def largest(probabilities: np.ndarray, names: Names) -> str:
    """Return the three largest of some probabilities (k,) in words: "eight 95.7%, three 2.1%".

    What would be 0.0% is left out.
    """
    count = len(probabilities)
    order = [int(number) for number in np.argsort(-probabilities, kind="stable")[:SHOWN]]
    shown = [number for number in order if number == order[0] or probabilities[number] >= LEAST]
    return ", ".join(f"{names.of(number, count)} {probabilities[number]:.1%}" for number in shown)


def counts(probabilities: np.ndarray, names: Names) -> str:
    """Return how many samples are of which class in words, from their probabilities (n, k)."""
    found = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    order = [int(number) for number in np.argsort(-found, kind="stable") if found[number]]
    text = ", ".join(
        f"{names.of(number, len(found))} {found[number]:,}" for number in order[:COUNTED]
    )
    return f"{text}, and {len(order) - COUNTED:,} more classes" if len(order) > COUNTED else text


def mistakes(pairs: Mapping[tuple[int, int], int], names: Names, count: int | None) -> list[str]:
    """Return the three most frequent mistakes in words: "4 of 54 nine called four".

    Args:
        pairs: how often a class was called which.
        names: those of the classes.
        count: how many classes there are, None if that is not known.
    """
    wrong = [(number, true, given) for (true, given), number in pairs.items() if true != given]
    totals: dict[int, int] = {}
    for (true, _), number in pairs.items():
        totals[true] = totals.get(true, 0) + number
    return [
        f"{number:,} of {totals[true]:,} {names.of(true, count)} called {names.of(given, count)}"
        for number, true, given in sorted(wrong, key=lambda each: (-each[0], *each[1:]))[:SHOWN]
    ]
