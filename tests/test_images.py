"""Images and folders: the numbers are those that Keras reads, and other files are reported."""

import io
import os
import subprocess
import sys

import numpy as np
import photos
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow import keras

from litecheck import images, script

AWKWARD = photos.awkward()


def as_keras(path, channels, size=None):
    """Return a file as `keras.utils.image_dataset_from_directory` reads it, float32."""
    content = tf.io.read_file(str(path))
    image = tf.io.decode_image(content, channels=channels, expand_animations=False)
    return tf.image.resize(image, size or image.shape[:2]).numpy()


@pytest.fixture
def saved(tmp_path):
    """Return a function that writes a file and returns its path."""

    def save(name, content):
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    return save


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", AWKWARD)
def test_the_numbers_are_keras_s(saved, name, channels):
    path = saved(name, AWKWARD[name])
    pixels, is_turned = images.decoded(path, channels)
    assert is_turned == name.startswith("turned")
    if channels == 1 and name.endswith(("bmp", "gif")):  # Keras does not read these as grey
        colours, _ = images.decoded(path, 3)
        assert abs(pixels[..., 0] - colours @ [0.299, 0.587, 0.114]).max() < 1.01
        return
    for size in [None, (24, 31), (80, 20), (1, 1), (37, 53)]:
        expected = as_keras(path, channels, size)
        np.testing.assert_allclose(
            images.resized(pixels, *expected.shape[:2]), expected, atol=1e-3, rtol=0
        )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["grey", "rgb", "alpha"])
def test_sixteen_bits(saved, kind, channels):
    count = ["grey", None, "rgb", "alpha"].index(kind) + 1
    values = np.random.default_rng(1).integers(0, 65536, (20, 30, count)).astype(np.uint16)
    path = saved("deep.png", tf.io.encode_png(values).numpy())
    pixels, _ = images.decoded(path, channels)
    # Pillow has 8 bits where Keras adds up 16 bits, so a grey image is up to one level lower.
    most = 1 if channels == 1 and count > 1 else 1e-3
    assert abs(pixels - as_keras(path, channels)).max() <= most


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize(("count", "mode"), [(1, "L"), (3, "RGB"), (4, "CMYK")])
def test_jpeg_differs_by_what_its_decoders_differ(saved, count, mode, quality):
    pixels, content = photos.smooth(60, 80, count), io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if count == 1 else pixels, mode)
    image.save(content, "JPEG", quality=quality)
    path = saved("photo.jpg", content.getvalue())
    for channels in (1, 3) if count < 4 else (3,):
        found = images.decoded(path, channels)[0].astype(int)
        # Keras uses TensorFlow's fast cosine transform. With the accurate one, all values agree.
        accurate = tf.io.decode_jpeg(content.getvalue(), channels, dct_method="INTEGER_ACCURATE")
        assert abs(found - accurate.numpy()).max() <= (1 if mode == "CMYK" else 0)


def test_the_loader_of_keras_itself(tmp_path):
    """The order of files, classes, sizes and numbers agree, also for nested folders."""
    folder = photos.folder(tmp_path / "photos")
    (folder / "red/more/a-b").mkdir(parents=True)
    (folder / "red/more-a").mkdir(parents=True)
    for place in ("red/more/a-b", "red/more-a", "red/more"):
        Image.fromarray(photos.smooth(8, 5, 3)).save(folder / place / "1.png")
    for channels, mode in [(3, "rgb"), (1, "grayscale")]:
        if channels == 1:
            for path in folder.rglob("*.bmp"):
                path.unlink()
        loaded = keras.utils.image_dataset_from_directory(
            folder, color_mode=mode, image_size=(6, 5), batch_size=None, shuffle=False, verbose=0
        )
        assert images.folders(str(folder)) == loaded.class_names
        files = images.files(str(folder))
        assert files == loaded.file_paths
        wanted = images.wanted((None, 6, 5, channels), np.dtype("float32"), "0..255")
        found = np.asarray(images.Images(files, wanted, []))
        expected = np.stack([image.numpy() for image, _ in loaded])
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("shape", "dtype", "scale", "low", "high"),
    [
        ((None, 4, 4, 3), "float32", "0..255", 0, 255),
        ((None, 4, 4, 1), "float32", "0..1", 0, 1),
        ((1, 4, 4), "float16", "-1..1", -1, 1),
        ((None, 4, 4, 3), "uint8", "0..255", 0, 255),
        ((None, None, None, 3), "int32", "0..255", 0, 255),
    ],
)
def test_what_a_model_takes(saved, shape, dtype, scale, low, high):
    content = io.BytesIO()
    Image.fromarray(np.repeat(np.uint8([[0, 0], [255, 255]])[..., None], 3, axis=2)).save(
        content, "PNG"
    )
    wanted = images.wanted(shape, np.dtype(dtype), scale)
    found = np.asarray(images.Images([saved("two.png", content.getvalue())] * 2, wanted, []))
    size = (4, 4) if shape[1] else (2, 2)
    assert (found.dtype, found.shape) == (np.dtype(dtype), (2, *size, *shape[3:]))
    assert (found.min(), found.max()) == (low, high)
    if dtype == "uint8":  # Keras, too, drops the fractions
        image = images.resized(images.decoded(saved("two.png", content.getvalue()), 3)[0], 4, 4)
        np.testing.assert_array_equal(found[0], tf.cast(image, tf.uint8))


@pytest.mark.parametrize(
    ("shape", "dtype", "scale", "words"),
    [
        ((None, 3), "float32", "0..255", "images have height, width, and 1 or 3 channels"),
        ((None, 3, 8, 8), "float32", "0..255", "1 or 3 channels"),
        ((None, 8, 8, 3), "uint8", "0..1", "uint8 cannot hold numbers from 0 to 1"),
        ((None, 8, 8, 3), "int8", "0..255", "int8 cannot hold numbers from 0 to 255"),
        ((None, 8, 8, 3), "bool", "0..255", "bool cannot hold"),
    ],
)
def test_what_takes_no_images(shape, dtype, scale, words):
    with pytest.raises(ValueError, match=words):
        images.wanted(shape, np.dtype(dtype), scale)


def png(image):
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def test_damaged_images_and_others(saved):
    whole = AWKWARD["plain.bmp"], AWKWARD["alpha.png"]
    jpeg, palette, small = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(photos.smooth(9, 9, 3)).quantize(9).save(small, "GIF")
    small.getbuffer()[6:10] = bytes([20, 0, 20, 0])  # the size of the whole image
    Image.fromarray(photos.smooth(37, 53, 3)).save(jpeg, "JPEG")
    Image.fromarray(photos.smooth(9, 9, 3)).quantize(9).save(palette, "BMP")
    for name, content, words in [
        ("text.png", b"not an image\n", "is not an image that Keras reads: save it as PNG"),
        ("empty.jpg", b"", "is not an image that Keras reads"),
        ("cut.png", whole[1][: len(whole[1]) // 2], "is a damaged image"),
        ("cut.jpg", jpeg.getvalue()[: len(jpeg.getvalue()) // 2], "is a damaged image"),
        ("cut.bmp", whole[0][: len(whole[0]) // 2], "is a damaged image"),
        ("palette.bmp", palette.getvalue(), "has a palette, which Keras ignores"),
        ("small.gif", small.getvalue(), "has a first frame smaller than the image: save it as PNG"),
        ("wide.png", png(Image.new("1", (20_000, 10_000))), "too many pixels for Pillow"),
    ]:
        path = saved(name, content)
        with pytest.raises(script.Failure) as failure:
            images.decoded(path, 3)
        (line,) = str(failure.value).splitlines()
        assert line.startswith(path)
        assert words in line


def test_a_large_image_needs_no_more_than_a_few_copies(saved):
    path = saved("large.png", png(Image.new("RGB", (10_000, 9_500), (10, 20, 30))))
    code = (
        "import resource; from litecheck import images; import sys;"
        "pixels, _ = images.decoded(sys.argv[1], 1); print(images.resized(pixels, 2, 2).ravel());"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, path],
        capture_output=True,
        text=True,
        check=True,
    )
    numbers, peak = process.stdout.splitlines()
    assert numbers == "[18. 18. 18. 18.]"
    assert int(peak) < 2.5 * 2**20  # KiB


def test_folders(tmp_path, capsys):
    folder = photos.folder(tmp_path / "photos", count=2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(script.Failure, match="holds no images that Keras reads"):
        images.files(str(tmp_path / "empty"))
    for name in ["red/a.webp", "red/b.HEIC", "green/._0.png", "Thumbs.db"]:
        (folder / name).write_bytes(b"x")
    found = images.files(str(folder))
    assert [os.path.relpath(file, folder) for file in found] == [
        f"{name}/{index}.png" for name in photos.COLOURS for index in range(2)
    ]
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"left out files that Keras does not read: 2, such as {folder}/red/a.webp"
    with pytest.raises(script.Failure, match=r"none\.png is missing"):
        images.files(str(tmp_path / "none.png"))


def test_what_is_no_file_or_cannot_be_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink(tmp_path / "nowhere", tmp_path / "link.png")
    for name in ("pipe.png", "link.png"):
        with pytest.raises(script.Failure, match=f"{name} is not a file that can be read"):
            images.decoded(str(tmp_path / name), 3)


def test_sizes_that_differ_where_a_model_takes_any(saved):
    wanted = images.wanted((None, None, None, 3), np.dtype("float32"), "0..255")
    files = [saved("a.png", AWKWARD["grey.png"]), saved("b.png", AWKWARD["one row.png"])]
    assert np.asarray(images.Images(files[:1], wanted, [])).shape == (1, 37, 53, 3)
    with pytest.raises(ValueError, match="images of several sizes"):
        np.asarray(images.Images(files, wanted, []))


def test_what_exif_would_turn_is_said(saved):
    wanted = images.wanted((None, 6, 5, 3), np.dtype("float32"), "0..255")
    files = [saved(name, AWKWARD[name]) for name in ("turned.png", "plain.bmp")]
    found = images.Images(files, wanted, [])
    assert np.asarray(found[:1]).shape == np.asarray(found[:1]).shape == (1, 6, 5, 3)
    assert found.note().startswith(f"{files[0]} has an EXIF rotation. Keras ignores it")
    assert "more" not in found.note()
    both = images.Images([files[0], saved("too.png", AWKWARD["turned.png"])], wanted, [])
    np.asarray(both)
    assert "an EXIF rotation, and 1 more. Keras" in both.note()
    assert not images.Images(files[1:], wanted, []).note()


def test_pillow_is_asked_for_where_it_is_missing(saved):
    path = saved("a.png", AWKWARD["grey.png"])
    code = (
        "import sys; sys.modules['PIL'] = None\n"
        "from litecheck import images, script\n"
        "try: images.decoded(sys.argv[1], 3)\n"
        "except script.Failure as failure: print(failure)"
    )
    process = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert process.stdout == f"{path} needs Pillow (the extra images): pip install pillow\n"


def test_scales():
    assert images.scale_of(None, None, np.ones(3), "x.npy") is None
    assert images.scale_of(None, "x.npy", "a.JPG") == "0..255"
    assert images.scale_of("0..1", "a.png") == "0..1"
    with pytest.raises(script.Failure, match="a scale is for images"):
        images.scale_of("0..1", "x.npy", None)
    with pytest.raises(
        script.Failure, match=r"0-1 is not a scale of images: give one of 0\.\.255, "
    ):
        images.scale_of("0-1", "a.png")
