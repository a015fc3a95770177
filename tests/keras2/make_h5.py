"""Write the HDF5 files of this directory, and what one answers, with Keras 2.

python3.11 -m venv old && old/bin/pip install tensorflow tf_keras && old/bin/python this_file
"""

import numpy as np
import tf_keras

tf_keras.utils.set_random_seed(1)
x = np.random.normal(size=(5, 8, 8, 1)).astype("float32")
model = tf_keras.Sequential(
    [
        tf_keras.layers.Conv2D(3, 3, activation="relu", input_shape=(8, 8, 1)),
        tf_keras.layers.BatchNormalization(),
        tf_keras.layers.Flatten(),
        tf_keras.layers.Dense(2),
    ]
)
model.compile("adam", "mse")
model.fit(x, np.zeros((5, 2)), verbose=0)
model.save("convolution.h5")
np.savez("expected_h5.npz", x=x, convolution=model.predict(x))
steps = tf_keras.Input((4, 3))
tf_keras.Model(steps, tf_keras.layers.LSTM(2, time_major=False)(steps)).save("time_major.h5")
