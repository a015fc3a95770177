"""Write the SavedModels of this directory, and what they answer, with the Keras of their time.

python3.10 -m venv old && old/bin/pip install tensorflow==2.15.1 && old/bin/python this_file
"""

import numpy as np
import tensorflow as tf

tf.keras.utils.set_random_seed(1)
x = np.random.normal(size=(64, 3)).astype("float32")
y = x @ [[1.0], [-2.0], [0.5]] + 3
answers = {}
for name, optimizer in [
    ("legacy_adam", tf.keras.optimizers.legacy.Adam(0.05)),
    ("adam", tf.keras.optimizers.Adam(0.05)),
]:
    model = tf.keras.Sequential(
        [tf.keras.layers.Dense(4, activation="relu", input_shape=[3]), tf.keras.layers.Dense(1)]
    )
    model.compile(optimizer=optimizer, loss="mse")
    model.fit(x, y, epochs=2, verbose=0)
    model.save(name)
    answers[name] = model.predict(x[:5])
np.savez("expected.npz", x=x[:5], **answers)
