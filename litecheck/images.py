"""Which numbers are in an image? Those that Keras trains on, as an array that a model takes.

They are what `keras.utils.image_dataset_from_directory` returns: pixel values from 0 to 255,
resized without antialiasing, and not turned by EXIF. Pillow decodes, and is imported where an image
is given. Of a JPEG file Keras makes slightly other values, because TensorFlow decodes it with the
faster and less accurate of two transforms: one grey level on average, in photos up to 18.
"""

import os
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from litecheck import script

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")  # which Keras reads in a folder
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")  # which its decoder knows, whatever the name
OTHERS = (".avif", ".heic", ".heif", ".tif", ".tiff", ".webp")  # which it leaves out
ORIENTATION = 0x0112  # the tag of EXIF for how a camera was held
# Of red, green and blue, in parts of 32,768: 0.299 and 0.587, which TensorFlow gives to libpng's
# png_set_rgb_to_gray, and the rest.
GREY = [np.uint32(weight) for weight in (9797, 19234, 3737)]
PIXELS = "0..255"  # the scale of pixel values as they are
SCALES = {PIXELS: (1.0, 0.0), "0..1": (255.0, 0.0), "-1..1": (127.5, 1.0)}  # divided by, less


class Wanted(NamedTuple):
    """What a model takes of an image.

    Attributes:
        height: in pixels, None where it varies.
        width: the same.
        channels: 1 or 3, and None where an image is one of grey numbers, without an axis for them.
        dtype: that of the model's input.
        scale: a key of `SCALES`.
    """

    height: int | None
    width: int | None
    channels: int | None
    dtype: np.dtype
    scale: str


def wanted(shape: Sequence[int | None], dtype: np.dtype, scale: str) -> Wanted:
    """Return what an input takes of an image.

    Args:
        shape: its shape, samples first, None where a size varies.
        dtype: its dtype.
        scale: a key of `SCALES`.

    Raises:
        ValueError: it takes no images, or not on this scale.
    """
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise ValueError("images have height, width, and 1 or 3 channels: give a .npy file")
    if dtype.kind != "f" and (scale != PIXELS or not np.can_cast(np.uint8, dtype)):
        low, high = scale.split("..")
        raise ValueError(f"its {dtype.name} cannot hold numbers from {low} to {high}")
    return Wanted(shape[1], shape[2], shape[3] if len(shape) == 4 else None, dtype, scale)


def is_given(given: Any) -> bool:
    """Return whether it is the path of an image or of a folder."""
    return isinstance(given, str) and (given.lower().endswith(SUFFIXES) or os.path.isdir(given))


def scale_of(scale: str | None, *given: Any) -> str | None:
    """Return the scale of images among what is given, None if there are none.

    Raises:
        Failure: there is no such scale, or it was given without images.
    """
    if scale and scale not in SCALES:
        raise script.Failure(f"{scale} is no scale of images: give one of {', '.join(SCALES)}")
    if not any(map(is_given, given)):
        if scale:
            raise script.Failure("a scale is for images: other numbers are taken as they are")
        return None
    return scale or PIXELS


def folders(folder: str) -> list[str]:
    """Return the names of the folders in a folder, in the order in which Keras numbers them."""
    entries = [entry for entry in os.scandir(folder) if entry.is_dir()]
    return sorted(entry.name for entry in entries if not entry.name.startswith("."))


def files(path: str) -> list[str]:
    """Return the images in a folder, in any depth and in Keras's order; or an image's path alone.

    Raises:
        Failure: there is none.
    """
    if not os.path.isdir(path):
        if not os.path.isfile(path):
            raise script.Failure(f"{path} is missing: name an image or a folder that exists")
        return [path]
    every = _inside(path)
    found = [file for file in every if file.lower().endswith(SUFFIXES)]
    if not found:
        raise script.Failure(f"{path} holds no images that Keras reads ({', '.join(SUFFIXES)})")
    if others := [file for file in every if file.lower().endswith(OTHERS)]:
        print(f"left out what Keras does not read: {len(others):,} files such as {others[0]}")
    return found


def _inside(path: str) -> list[str]:
    """Return all files in a folder: its own, then those of each folder in it, as Keras walks.

    A folder in it may be a link, those below are not followed.

    Raises:
        Failure: a folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise script.Failure(f"{error.filename} cannot be read: {error.strerror}") from error

    own = [name for name in os.listdir(path) if os.path.isfile(os.path.join(path, name))]
    walks: list[tuple[str, list[str], list[str]]] = [(path, [], own)]
    for name in folders(path):
        walks += sorted(os.walk(os.path.join(path, name), onerror=fail))
    return [
        os.path.join(folder, name)
        for folder, _, names in walks
        for name in sorted(names)
        if not name.startswith(".")
    ]


class Images:
    """Images of some files, which are decoded where their numbers are asked for.

    It has what an array has that is divided among runs: a length, axes, slices.

    Attributes:
        files: the paths.
        wanted: what the model takes of each.
        ndim: the number of axes, samples first.
        turned: the files that EXIF would turn, of those that were decoded.
    """

    def __init__(self, files: Sequence[str], wanted: Wanted, turned: list[str]) -> None:
        """Take the paths; slices share what was turned."""
        self.files, self.wanted, self.turned = files, wanted, turned
        self.ndim = 3 if wanted.channels is None else 4

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.files)

    def __getitem__(self, part: slice) -> "Images":
        """Return some of the images."""
        return Images(self.files[part], self.wanted, self.turned)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the numbers, samples first.

        Raises:
            Failure: an image cannot be read.
            ValueError: the model takes any size, and theirs differ.
        """
        decoded = [self._decoded(file) for file in self.files]
        sizes = {array.shape[:2] for array in decoded}
        if len(sizes) > 1:
            raise ValueError(f"it takes any size, and images have several, as {sorted(sizes)[:2]}")
        return np.stack(decoded)

    def _decoded(self, file: str) -> np.ndarray:
        """Return the numbers of an image as the model takes them, without the axis of samples."""
        pixels, is_turned = decoded(file, self.wanted.channels or 1)
        if is_turned and file not in self.turned:
            self.turned.append(file)
        height, width = self.wanted.height, self.wanted.width
        values = resized(pixels, height or len(pixels), width or len(pixels[0]))
        divisor, less = SCALES[self.wanted.scale]
        values = values / np.float32(divisor) - np.float32(less)
        return (values[..., 0] if self.wanted.channels is None else values).astype(
            self.wanted.dtype
        )

    def note(self) -> str:
        """Return which of the decoded images EXIF would turn, in a line; or ""."""
        if not self.turned:
            return ""
        others = f", and {len(self.turned) - 1:,} more" if len(self.turned) > 1 else ""
        return (
            f"{self.turned[0]} has an EXIF rotation{others}. Keras ignores it, and so does"
            " litecheck: turn it if your training images stand upright"
        )


def decoded(path: str, channels: int) -> tuple[np.ndarray, bool]:
    """Decode an image as TensorFlow does: of several frames the first, without transparency.

    Args:
        path: the file.
        channels: 1 for grey, 3 for red, green and blue.

    Returns:
        uint8 (height, width, channels), and whether EXIF would turn it.

    Raises:
        Failure: Pillow is missing, or the file is no image that Keras reads.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        message = f"{path} needs Pillow (the extra images): pip install pillow"
        raise script.Failure(message) from error
    if not os.path.isfile(path):
        raise script.Failure(f"{path} is no file that can be read: remove it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large image, which is not too large
            with Image.open(path, formats=FORMATS) as image:
                turned = image.getexif().get(ORIENTATION, 1) not in (0, 1)
                return _pixels(path, image, channels), turned
    except UnidentifiedImageError as error:
        message = f"{path} is no image of a kind that Keras reads: save it as PNG, or remove it"
        raise script.Failure(message) from error
    except Image.DecompressionBombError as error:
        message = f"{path} has too many pixels for Pillow: save it smaller, or remove it"
        raise script.Failure(message) from error
    except PermissionError as error:
        raise script.Failure(f"{path} cannot be read: permit reading it, or remove it") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises
        message = f"{path} is a damaged image ({script.brief(error)}): replace or remove it"
        raise script.Failure(message) from error


def _pixels(path: str, image: Any, channels: int) -> np.ndarray:
    """Return the pixels of an opened image; see `decoded`."""
    if image.format == "BMP" and image.mode in ("1", "P"):
        raise script.Failure(f"{path} has a palette, which Keras ignores: save it as PNG")
    if image.format == "GIF" and image.tile[0][1] != (0, 0, *image.size):
        raise script.Failure(f"{path} has a first frame that is smaller: save it as PNG")
    if channels == 1 and image.format == "JPEG":
        image.draft("L", image.size)
    if image.mode.startswith("I"):  # 16 bits, of which the high byte counts
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], channels, axis=2)
    if image.mode in ("1", "L", "LA"):
        grey = np.asarray(image.convert("LA"))[..., :1]
        return np.repeat(grey, channels, axis=2)
    if image.mode in ("P", "PA", "RGBA"):
        values = np.asarray(image.convert("RGBA"))
        if image.format == "GIF":
            values = np.where(values[..., 3:] > 0, values, 0)
        colours = values[..., :3]
    else:
        colours = np.asarray(image.convert("RGB"))
    if channels == 3:
        return colours
    red, green, blue = (colours[..., index] * weight for index, weight in enumerate(GREY))
    return ((red + green + blue) >> 15).astype(np.uint8)[..., None]


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an image as `tf.image.resize` does: bilinear, half-pixel centres, no antialiasing.

    A pixel at (y, x) of the result is at ((y + 0.5) · rows / height - 0.5, and so on) of the image,
    between four of its pixels. Source: compute_interpolation_weights in TensorFlow's
    core/util/image_resizer_state.h and resize_bilinear_op.cc.

    Args:
        pixels: uint8 (rows, columns, channels).
        height: of the result.
        width: of the result.

    Returns:
        float32 (height, width, channels).
    """
    top, bottom, down = _between(len(pixels), height)
    left, right, across = _between(len(pixels[0]), width)
    across, down = across[:, None], down[:, None, None]
    rows = []
    for lines in (pixels[top], pixels[bottom]):
        start, end = (lines[:, side].astype(np.float32) for side in (left, right))
        rows.append(start + (end - start) * across)
    return rows[0] + (rows[1] - rows[0]) * down


def _between(size: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each of `count` places the pixels before and behind it, and how far it is."""
    scale = np.float32(size) / np.float32(count)
    places = (np.arange(count, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    before = np.floor(places)
    return (
        np.maximum(before, 0).astype(int),
        np.minimum(np.ceil(places), size - 1).astype(int),
        places - before,
    )
