#!/bin/sh
# Convert a SavedModel with TensorFlow's command-line converter. The result is the float32 file of
# 03_convert_model.py. This script needs no Python code, but it does not check the result.
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
  case $saved_model_dir in
    saved_model/my_model | ./saved_model/my_model)
      missing="$saved_model_dir/ is missing. Make it with: python 01_create_model.py" ;;
    *) missing="$saved_model_dir/saved_model.pb is missing: name a SavedModel directory" ;;
  esac
  echo "convert-tflite.sh: $missing" >&2
  exit 1
fi

# Write to a temporary directory, so that the output file appears only when it is complete.
work=$(mktemp -d "$(dirname "$output_file")/.new-XXXXXX") || {
  echo "convert-tflite.sh: make that directory writable, or choose another output file" >&2
  exit 1
}
trap 'rm -rf "$work"' EXIT
trap 'echo "convert-tflite.sh: interrupted" >&2; exit 130' INT
trap 'exit 143' TERM

status=0
TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2} tflite_convert \
  --saved_model_dir="$saved_model_dir" --output_file="$work/model.tflite" "$@" \
  2>"$work/stderr" || status=$?

if [ "$status" -ne 0 ]; then # print one line of hundreds
  reason=$(grep -E 'TF Select ops:|[Ee]rror: ' "$work/stderr" | tail -n 1 | cut -c 1-300)
  echo "convert-tflite.sh: $saved_model_dir was not converted: ${reason:-status $status}" >&2
  echo "Try: python -m litecheck convert $saved_model_dir" >&2
  exit "$status"
fi
# Hide TensorFlow's start-up notes, which ignore the log level. Real warnings are printed.
grep -Ev '^(WARNING: All log messages before|I[0-9]{4} |INFO:|E0000 .* cuInit)' "$work/stderr" >&2 ||
  true
if [ -e "$work/model.tflite" ]; then # --help writes no file
  mv "$work/model.tflite" "$output_file"
  echo "saved ${output_file#./} $(($(wc -c <"$output_file"))) bytes"
fi
