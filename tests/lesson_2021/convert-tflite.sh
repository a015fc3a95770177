tflite_convert \
  --saved_model_dir=./saved_model/my_model \
  --output_file=./saved_model/my_model.cmdline.tflite
