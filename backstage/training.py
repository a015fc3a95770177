"""How does one `fit` twenty thousand updates in a second?"""

import keras
import tensorflow as tf

PORTIONS = 20  # how often a training says how far it is


def fit(model, x, y, epochs, batch_size):
    """Train as `model.fit(x, y, epochs=epochs, batch_size=batch_size)` does, without what it adds.

    Keras's `train_step` is what happens to one batch. Here it is mapped over a twentieth of all
    batches and compiled by XLA into one loop without Python, so that `fit` sees twenty large steps.
    Each prints the mean loss of its own updates.

    Args:
        model: a compiled Keras model.
        x: an array of inputs, samples first. They are shuffled anew in each epoch, and those that
            fill no batch are left out.
        y: an array of outputs, samples first.
        epochs: passes over the data.
        batch_size: samples in an update.

    Returns:
        A dict from the number of updates done to the mean loss of the updates up to it.
    """
    updates = epochs * (len(x) // batch_size)
    portion = -(-updates // PORTIONS)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x))
    batches = batches.batch(batch_size, drop_remainder=True).repeat(epochs)
    progress = Progress(updates, portion)

    model.optimizer.build(model.trainable_variables)  # a compiled loop cannot create variables
    update = model.train_step
    model.train_step = tf.function(
        lambda batches: tf.map_fn(update, batches, fn_output_signature={"loss": tf.float32}),
        autograph=False,
        jit_compile=True,
    )
    try:
        model.fit(batches.batch(portion), shuffle=False, verbose=0, callbacks=[progress])
    finally:
        model.train_step = update
        model.make_train_function(force=True)
    return progress.history


class Progress(keras.callbacks.Callback):
    """Prints and keeps the mean loss after each portion of the updates."""

    def __init__(self, updates, portion):
        """Take the number of updates in all and in a portion."""
        super().__init__()
        self.updates, self.portion, self.history = updates, portion, {}

    def on_train_batch_end(self, batch, logs):
        """Take the index of the portion, and in `logs["loss"]` the running mean of its updates."""
        done, loss = min((batch + 1) * self.portion, self.updates), logs["loss"][-1]
        self.history[done] = float(loss)
        print(f"update {done:6,} of {self.updates:,}: loss {loss:.3g}")
        self.model.reset_metrics()
