"""`fit` against Keras's own: the same updates, in portions, and the model as it was before."""

import numpy as np
import pytest
from tensorflow import keras

from backstage import training

X = np.linspace(-1, 1, 12, dtype="float32").reshape(-1, 1)
Y = 3 * X + 1


def model(rate=0.1):
    """Return a compiled model that starts at zero."""
    result = keras.Sequential([keras.Input([1]), keras.layers.Dense(1, kernel_initializer="zeros")])
    result.compile(optimizer=keras.optimizers.SGD(rate), loss="mse")
    return result


def test_the_updates_are_those_of_keras(capsys):
    """With one batch an epoch, shuffling changes nothing but the order of a sum."""
    ours, theirs = model(), model()
    history = training.fit(ours, X, Y, epochs=40, batch_size=12)
    losses = theirs.fit(X, Y, epochs=40, batch_size=12, verbose=0).history["loss"]
    for weight, true in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, true, rtol=1e-5)
    assert list(history) == list(range(2, 41, 2))
    pairs = np.mean([losses[::2], losses[1::2]], axis=0)
    np.testing.assert_allclose(list(history.values()), pairs, rtol=1e-4)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert lines[0] == f"update      2 of 40: loss {history[2]:.3g}"


@pytest.mark.parametrize(
    ("epochs", "batch_size", "updates"),
    [
        (1, 5, [1, 2]),
        (3, 11, [1, 2, 3]),
        (7, 4, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 21]),
        (3, 12, [1, 2, 3]),
    ],
)
def test_portions_end_with_the_last_update(capsys, epochs, batch_size, updates):
    ours = model()
    assert list(training.fit(ours, X, Y, epochs, batch_size)) == updates
    assert int(ours.optimizer.iterations) == updates[-1]
    assert f"update {updates[-1]:6} of {updates[-1]}: loss" in capsys.readouterr().out


def test_every_sample_is_used_once_an_epoch():
    """At a rate of 0 nothing moves, so the losses of an epoch's updates average to all's."""
    history = training.fit(model(rate=0.0), X, Y, epochs=10, batch_size=3)
    np.testing.assert_allclose(np.mean(list(history.values())), np.mean(Y**2), rtol=1e-5)


def test_the_model_is_keras_own_again():
    ours = model()
    training.fit(ours, X, Y, epochs=2, batch_size=4)
    before = int(ours.optimizer.iterations)
    ours.fit(X, Y, epochs=1, batch_size=4, verbose=0)
    assert int(ours.optimizer.iterations) == before + 3


def test_the_order_changes_from_epoch_to_epoch():
    """With a batch of one and a large rate, the order of the samples decides where it ends."""
    ends = set()
    for seed in range(4):
        keras.utils.set_random_seed(seed)
        ours = model(rate=0.4)
        training.fit(ours, X, Y, epochs=2, batch_size=1)
        ends.add(ours.get_weights()[0].item())
    assert len(ends) == 4
