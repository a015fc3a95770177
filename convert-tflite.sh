#!/bin/sh
# Convert a SavedModel with TensorFlow's command-line converter: 03_convert_model.py's first
# conversion without Python code, but also without its check of the result.
#
#   sh convert-tflite.sh [SAVED_MODEL_DIR [OUTPUT_FILE]] [--] [FLAGS for tflite_convert]
set -eu

saved_model_dir=./saved_model/my_model
case "${1--}" in -*) ;; *) saved_model_dir=${1%/} && shift ;; esac
output_file=$saved_model_dir.cmdline.tflite
case "${1--}" in -*) ;; *) output_file=$1 && shift ;; esac
if [ "${1-}" = -- ]; then shift; fi

if ! command -v tflite_convert >/dev/null; then
  echo "convert-tflite.sh: tflite_convert is not on PATH. Run '. .venv/bin/activate'," \
    "or 'pip install .[convert]' in the clone" >&2
  exit 127
fi
if [ ! -e "$saved_model_dir/saved_model.pb" ]; then
  echo "convert-tflite.sh: $saved_model_dir/ is missing. Make it with: python 01_create_model.py" >&2
  exit 1
fi

# The file takes its name only when it is complete.
work=$(mktemp -d "$(dirname "$output_file")/.new-XXXXXX") || {
  echo "convert-tflite.sh: make that directory writable, or name another output file" >&2
  exit 1
}
trap 'rm -rf "$work"' EXIT
trap 'echo "convert-tflite.sh: interrupted" >&2; exit 130' INT
trap 'exit 143' TERM

status=0
TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2} tflite_convert \
  --saved_model_dir="$saved_model_dir" --output_file="$work/model.tflite" "$@" \
  2>"$work/stderr" || status=$?

if [ "$status" -ne 0 ]; then # one line of the hundreds
  reason=$(grep -E 'TF Select ops:|[Ee]rror: ' "$work/stderr" | tail -n 1 | cut -c 1-300)
  echo "convert-tflite.sh: $saved_model_dir was not converted: ${reason:-status $status}" >&2
  echo "Try: python -m litecheck convert $saved_model_dir" >&2
  exit "$status"
fi
# TensorFlow's start-up notes ignore every log level; real warnings pass.
grep -Ev '^(WARNING: All log messages before|I[0-9]{4} |INFO:|E0000 .* cuInit)' "$work/stderr" >&2 ||
  true
if [ -e "$work/model.tflite" ]; then # not after --help
  mv "$work/model.tflite" "$output_file"
  echo "saved ${output_file#./} $(($(wc -c <"$output_file"))) bytes"
fi
