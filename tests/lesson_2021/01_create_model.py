# The lesson's code of 2021 with the fewest changes that let it run on today's TensorFlow; each is
# marked "ported". It is what tests/benchmark.py measures against.
# TensorFlow and tf.keras
import tensorflow as tf
from tensorflow import keras

# Helper libraries
import numpy as np

#1.make data
test_size = 100

_input  = np.arange(100, 100+test_size)  # ported: was test_dimsize
_output = _input * 100 + 5

#2.construct layer
model = keras.Sequential([
    tf.keras.layers.Dense(10, input_shape=[1]),
    tf.keras.layers.Dense(1)
    ])

model.compile(optimizer=keras.optimizers.Adam(0.01),
        loss='mse')

model.summary()

#3.train model
model.fit(_input, _output, epochs=2000, batch_size=10, verbose=1)

weight = model.get_weights()
print("weight: ", weight)

#4.Inference
print("prediction test")
test_input = np.array([1,2,3,4,5])  # ported: was a list
print("input : ", test_input)
test_output = model.predict(test_input)
print("output: ", test_output.tolist())

#5. save model as tensorflow saved_model
import os; os.makedirs('saved_model', exist_ok=True)  # ported: save made it
model.save('saved_model/my_model.keras')  # ported: was 'saved_model/my_model'
model.export('saved_model/my_model')  # ported: was save's doing
