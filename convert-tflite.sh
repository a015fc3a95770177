#!/bin/sh
# Convert the SavedModel with TensorFlow's command-line converter: 03_convert_model.py's first
# conversion without Python code. Extra flags are passed on: sh convert-tflite.sh --help
set -eu

saved_model_dir=./saved_model/my_model
output_file=./saved_model/my_model.cmdline.tflite

if ! command -v tflite_convert >/dev/null; then
  echo "convert-tflite.sh: tflite_convert is not on PATH. Run '. .venv/bin/activate'," \
    "or 'pip install -r requirements.txt'" >&2
  exit 127
fi
if [ ! -e "$saved_model_dir/saved_model.pb" ]; then
  echo "convert-tflite.sh: $saved_model_dir/ is missing. Make it with: python 01_create_model.py" >&2
  exit 1
fi

# The file takes its name only when it is complete.
work=$(mktemp -d "$output_file.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# TensorFlow's start-up notes ignore every log level, so they are filtered out of stderr.
notes='^(WARNING: All log messages before|I0000 |E0000 .* cuInit)'
{
  TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2} tflite_convert \
    --saved_model_dir="$saved_model_dir" \
    --output_file="$work/model.tflite" \
    "$@" 2>&1 >&3 || echo $? >"$work/status"
} 3>&1 | grep -Ev "$notes" >&2 || true

if [ -e "$work/status" ]; then
  exit "$(cat "$work/status")"
fi
if [ -e "$work/model.tflite" ]; then # not after --help
  mv "$work/model.tflite" "$output_file"
  echo "saved ${output_file#./} $(($(wc -c <"$output_file"))) bytes"
fi
