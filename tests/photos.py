"""Folders of images, unusual images, and classifiers of them, all in formats that Keras reads."""

import io

import numpy as np
from PIL import Image

COLOURS = {"blue": (30, 60, 220), "green": (40, 200, 60), "red": (230, 50, 40)}  # by their classes
RANDOM = np.random.default_rng(5)


def smooth(height, width, channels):
    """Return an image with waves and some noise: uint8 (height, width, channels)."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 100 * np.sin(x / (3 + i) + i) * np.cos(y / (4 + i)) for i in range(channels)]
    noisy = np.stack(waves, axis=-1) + RANDOM.normal(0, 8, (height, width, channels))
    return noisy.clip(0, 255).astype(np.uint8)


def folder(path, count=12, size=(9, 7), seed=0):
    """Write PNG and BMP images of three colours, a folder for each colour. Return the path."""
    generator = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (path / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.array(colour) + generator.normal(0, 25, (*size, 3))
            ending = "bmp" if index % 3 == 2 else "png"
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(path / name / f"{index}.{ending}")
    return path


def classifier(scale=1.0, shape=(6, 5, 3), low=0.0):
    """Return a Keras model that tells the colours apart, from pixels of low to low + scale.

    Its largest probabilities are between 0.4 and 1.
    """
    from tensorflow import keras

    pixels = keras.Input(shape, name="photo")
    mean = keras.layers.GlobalAveragePooling2D()(pixels)
    last = keras.layers.Dense(3, activation="softmax", name="colour")
    model = keras.Model(pixels, last(mean))
    middle = np.array(list(COLOURS.values())) / 255 - 0.5
    weights = 5 * middle.T / scale
    last.set_weights([weights, -(low + scale / 2) * weights.sum(axis=0)])
    return model


def awkward():
    """Return unusual files that Keras can read, by their names."""
    rgb, grey, four = smooth(37, 53, 3), smooth(37, 53, 1)[..., 0], smooth(37, 53, 4)
    colours, turned = Image.fromarray(rgb), Image.Exif()
    turned[0x0112] = 6
    palette = colours.quantize(40)
    images = {
        "grey.png": (Image.fromarray(grey), {}),
        "grey with alpha.png": (Image.fromarray(np.dstack([grey, four[..., 0]]), "LA"), {}),
        "alpha.png": (Image.fromarray(four, "RGBA"), {}),
        "palette.png": (palette, {}),
        "palette with transparency.png": (palette, {"transparency": 3}),
        "four bits.png": (colours.quantize(16), {"bits": 4}),
        "one bit.png": (Image.fromarray(grey > 100), {}),
        "one colour transparent.png": (colours, {"transparency": tuple(map(int, rgb[0, 0]))}),
        "one pixel.png": (Image.fromarray(rgb[:1, :1]), {}),
        "one row.png": (Image.fromarray(rgb[:1]), {}),
        "animated.png": (colours, {"save_all": True, "append_images": [palette.convert("RGB")]}),
        "turned.png": (colours, {"exif": turned}),
        "UPPER.PNG": (colours, {}),
        "plain.bmp": (colours, {}),
        "grey.bmp": (Image.fromarray(grey), {}),
        "alpha.bmp": (Image.fromarray(four, "RGBA"), {}),
        "still.gif": (palette, {}),
        "with transparency.gif": (palette, {"transparency": 3}),
        "animated.gif": (colours, {"save_all": True, "append_images": [palette.convert("RGB")]}),
    }
    files = {}
    for name, (image, options) in images.items():
        content = io.BytesIO()
        image.save(content, format=name.rsplit(".", 1)[1], **options)
        files[name] = content.getvalue()
    return files
