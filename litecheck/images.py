"""Which numbers are in an image? The numbers that Keras trains on, as an array for a model.

They are what `keras.utils.image_dataset_from_directory` returns: pixel values from 0 to 255,
resized without antialiasing, and not rotated as EXIF asks. Pillow decodes the images, and is
imported only if an image is given. For JPEG files Keras's values differ slightly, because
TensorFlow decodes them with the faster and less accurate of two transforms. The difference is one
grey level on average, and up to 18 in photos.
"""

import os
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from litecheck import script

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")  # Keras reads these in a folder
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")  # its decoder reads these, whatever the suffix
OTHERS = (".avif", ".heic", ".heif", ".tif", ".tiff", ".webp")  # Keras skips these in a folder
ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held
# The weights of red, green and blue, times 32,768. TensorFlow gives 0.299 and 0.587 to libpng's
# png_set_rgb_to_gray, and blue gets the rest.
GREY = [np.uint32(weight) for weight in (9797, 19234, 3737)]
PIXELS = "0..255"  # the scale of unchanged pixel values
SCALES = {  # each scale's divisor, and what is then subtracted
    PIXELS: (1.0, 0.0),
    "0..1": (255.0, 0.0),
    "-1..1": (127.5, 1.0),
}


class Wanted(NamedTuple):
    """The form in which a model takes an image.

    Attributes:
        height: the height in pixels, or None if it varies.
        width: the width in pixels, or None if it varies.
        channels: 1 or 3, or None for a grey image without a channel axis.
        dtype: the dtype of the model's input.
        scale: a key of `SCALES`.
    """

    height: int | None
    width: int | None
    channels: int | None
    dtype: np.dtype
    scale: str


def wanted(shape: Sequence[int | None], dtype: np.dtype, scale: str) -> Wanted:
    """Return the form in which a model's input takes an image.

    Args:
        shape: the input's shape, samples first, with None for a variable size.
        dtype: the input's dtype.
        scale: a key of `SCALES`.

    Raises:
        ValueError: the input takes no images, or its dtype cannot hold this scale.
    """
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise ValueError("images have height, width, and 1 or 3 channels: give a .npy file")
    if dtype.kind != "f" and (scale != PIXELS or not np.can_cast(np.uint8, dtype)):
        low, high = scale.split("..")
        raise ValueError(f"its {dtype.name} cannot hold numbers from {low} to {high}")
    return Wanted(shape[1], shape[2], shape[3] if len(shape) == 4 else None, dtype, scale)


def is_given(given: Any) -> bool:
    """Return whether what the user gave is the path of an image or of a folder."""
    return isinstance(given, str) and (given.lower().endswith(SUFFIXES) or os.path.isdir(given))


def scale_of(scale: str | None, *given: Any) -> str | None:
    """Return the scale of the given images, or None if no images are given.

    Raises:
        Failure: there is no such scale, or it was given without images.
    """
    if scale and scale not in SCALES:
        raise script.Failure(f"{scale} is not a scale of images: give one of {', '.join(SCALES)}")
    if not any(map(is_given, given)):
        if scale:
            raise script.Failure(
                "a scale is for images only: leave it out, and scale other inputs yourself"
            )
        return None
    return scale or PIXELS


def folders(folder: str) -> list[str]:
    """Return the names of a folder's subfolders, in the order in which Keras numbers them."""
    entries = [entry for entry in os.scandir(folder) if entry.is_dir()]
    return sorted(entry.name for entry in entries if not entry.name.startswith("."))


def files(path: str) -> list[str]:
    """Return the paths of all images below a folder, in Keras's order, or the path of one image.

    Raises:
        Failure: there is no image.
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
        print(f"left out files that Keras does not read: {len(others):,}, such as {others[0]}")
    return found


def _inside(path: str) -> list[str]:
    """Return all files below a folder in Keras's order: its own, then those of each subfolder.

    Links to folders are followed in the folder itself, but not further down.

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
    """Images in files, which are decoded only when they are converted to an array.

    Like an array they have a length, a number of axes, and slices, so they can be split into runs.

    Attributes:
        files: the paths.
        wanted: the form in which the model takes each image.
        ndim: the number of axes, samples first.
        turned: those of the decoded files that have an EXIF rotation.
    """

    def __init__(self, files: Sequence[str], wanted: Wanted, turned: list[str]) -> None:
        """Take the paths, the form, and the list of rotated files, which slices share."""
        self.files, self.wanted, self.turned = files, wanted, turned
        self.ndim = 3 if wanted.channels is None else 4

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, part: slice) -> "Images":
        """Return the images of a slice, without decoding them."""
        return Images(self.files[part], self.wanted, self.turned)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Decode the images, and return their numbers, samples first.

        Raises:
            Failure: an image cannot be read.
            ValueError: the model takes any size, and the images differ in size.
        """
        decoded = [self._decoded(file) for file in self.files]
        sizes = {array.shape[:2] for array in decoded}
        if len(sizes) > 1:
            some = " and ".join(f"{height} x {width}" for height, width in sorted(sizes)[:2])
            raise ValueError(f"images of several sizes ({some}): resize them to one size")
        return np.stack(decoded)

    def _decoded(self, file: str) -> np.ndarray:
        """Return the numbers of one image as the model takes them, without the samples' axis."""
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
        """Return a line that names the decoded images with an EXIF rotation, or ""."""
        if not self.turned:
            return ""
        others = f", and {len(self.turned) - 1:,} more" if len(self.turned) > 1 else ""
        return (
            f"{self.turned[0]} has an EXIF rotation{others}. Keras ignores it, and so does"
            " litecheck: rotate the image if your training images are upright"
        )


def decoded(path: str, channels: int) -> tuple[np.ndarray, bool]:
    """Decode an image as TensorFlow does: the first of several frames, without transparency.

    Args:
        path: the file.
        channels: 1 for grey, 3 for red, green and blue.

    Returns:
        uint8 (height, width, channels), and whether the image has an EXIF rotation.

    Raises:
        Failure: Pillow is missing, or the file is not an image that Keras reads.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        message = f"{path} needs Pillow (the extra images): pip install pillow"
        raise script.Failure(message) from error
    if not os.path.isfile(path):
        raise script.Failure(f"{path} is not a file that can be read: remove it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images that it still reads
            with Image.open(path, formats=FORMATS) as image:
                turned = image.getexif().get(ORIENTATION, 1) not in (0, 1)
                return _pixels(path, image, channels), turned
    except UnidentifiedImageError as error:
        message = f"{path} is not an image that Keras reads: save it as PNG, or remove it"
        raise script.Failure(message) from error
    except Image.DecompressionBombError as error:
        message = f"{path} has too many pixels for Pillow: save it smaller, or remove it"
        raise script.Failure(message) from error
    except PermissionError as error:
        raise script.Failure(f"{path} cannot be read: permit reading it, or remove it") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow raises any of these
        message = f"{path} is a damaged image ({script.brief(error)}): replace or remove it"
        raise script.Failure(message) from error


def _pixels(path: str, image: Any, channels: int) -> np.ndarray:
    """Return the pixels of an opened image, as uint8; see `decoded`."""
    if image.format == "BMP" and image.mode in ("1", "P"):
        raise script.Failure(f"{path} has a palette, which Keras ignores: save it as PNG")
    if image.format == "GIF" and image.tile[0][1] != (0, 0, *image.size):
        raise script.Failure(f"{path} has a first frame smaller than the image: save it as PNG")
    if channels == 1 and image.format == "JPEG":
        image.draft("L", image.size)
    if image.mode.startswith("I"):  # 16 bits, of which TensorFlow keeps the high byte
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], channels, axis=2)
    if image.mode in ("1", "L", "LA"):
        grey = np.asarray(image.convert("LA"))[..., :1]
        return np.repeat(grey, channels, axis=2)
    if image.mode in ("P", "PA", "RGBA"):
        values = np.asarray(image.convert("RGBA"))
        if image.format == "GIF":
            values = np.where(values[..., 3:] > 0, values, 0)
        colors = values[..., :3]
    else:
        colors = np.asarray(image.convert("RGB"))
    if channels == 3:
        return colors
    red, green, blue = (colors[..., index] * weight for index, weight in enumerate(GREY))
    return ((red + green + blue) >> 15).astype(np.uint8)[..., None]


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an image as `tf.image.resize` does: bilinear, half-pixel centers, no antialiasing.

    Pixel (y, x) of the result is interpolated between the four pixels around this place in the
    image: ((y + 0.5) · rows / height - 0.5, (x + 0.5) · columns / width - 0.5). Source:
    compute_interpolation_weights in TensorFlow's core/util/image_resizer_state.h and
    resize_bilinear_op.cc.

    Args:
        pixels: uint8 (rows, columns, channels).
        height: the height of the result.
        width: the width of the result.

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
    """Return where `count` pixels are between the `size` pixels of an image, along one axis.

    Returns:
        The index of the pixel before each place, the index of the pixel behind it, and the distance
        from the pixel before.
    """
    scale = np.float32(size) / np.float32(count)
    places = (np.arange(count, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    before = np.floor(places)
    return (
        np.maximum(before, 0).astype(int),
        np.minimum(np.ceil(places), size - 1).astype(int),
        places - before,
    )
