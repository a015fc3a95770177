// 4. Deploy the model, in C. The steps and the library are those of 04_deploy_tflite.py.
//
//   deploy MODEL.tflite [VALUE ...]
//
// Values fill the inputs in printed order. The last value is repeated. The default is 1.

#define _POSIX_C_SOURCE 200809L
#define ARGUMENTS "MODEL.tflite [VALUE ...]"
#include "clock.h"
#include "failure.h"
#include "litert.h"
#include "numbers.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { MOST_TENSORS = 256, FIRST_NUMBERS = 8 };

typedef struct {
  LiteRtTensor handle;
  const char *name;
  const Dtype *dtype;
  LiteRtRankedTensorType type;               // with the sizes in this run
  LiteRtLayout signature;                    // with -1 for each variable size
  LiteRtQuantizationPerTensor quantization;  // the scale is 0 if the tensor is not quantized
  size_t count;                              // how many numbers it has
} Tensor;

static void *content = MAP_FAILED;  // of the file
static size_t content_bytes;
static LiteRtEnvironment environment;
static LiteRtModel model;
static LiteRtOptions options;
static LiteRtCompiledModel compiled;
static size_t inputs, outputs;
static Tensor tensors[MOST_TENSORS];              // the inputs, then the outputs
static LiteRtTensorBuffer buffers[MOST_TENSORS];  // the memory of each

static void release(void) {
  for (size_t i = 0; i < MOST_TENSORS; i++)
    if (buffers[i]) LiteRtDestroyTensorBuffer(buffers[i]);
  if (compiled) LiteRtDestroyCompiledModel(compiled);
  if (options) LiteRtDestroyOptions(options);
  if (model) LiteRtDestroyModel(model);
  if (environment) LiteRtDestroyEnvironment(environment);
  if (content != MAP_FAILED) munmap(content, content_bytes);
}

static void print_shape(const char *before, const LiteRtLayout *layout) {
  fprintf(report, "%s[", before);
  for (unsigned int i = 0; i < layout->rank && i < LITERT_TENSOR_MAX_RANK; i++)
    fprintf(report, "%s%" PRId32, i ? ", " : "", layout->dimensions[i]);
  fputs("]", report);
}

static void print_numbers(const char *kind, size_t index) {
  const Tensor *tensor = &tensors[index];
  bool quantized = tensor->quantization.scale != 0;
  void *data;
  check(LiteRtLockTensorBuffer(buffers[index], &data, kLiteRtTensorBufferLockModeRead));
  fprintf(report, "%s %s:", kind, tensor->name);
  for (size_t i = 0; i < tensor->count && i < FIRST_NUMBERS; i++) {
    long double number = stored(tensor->dtype, data, i);
    if (quantized) number = dequantize(tensor->quantization, number);
    fprintf(report, " %.*Lg", tensor->dtype->whole && !quantized ? 20 : 9, number);
  }
  fputs(tensor->count > FIRST_NUMBERS ? " ...\n" : "\n", report);
  check(LiteRtUnlockTensorBuffer(buffers[index]));
}

static LiteRtStatus run(void) {
  return LiteRtRunCompiledModel(compiled, 0, inputs, buffers, outputs, buffers + inputs);
}

int main(int argc, char **argv) {
  const char *path = begin(argc, argv);

  // Load the model. We map the file, because LiteRT checks less if it opens the file itself.
  int file = open(path, O_RDONLY);
  struct stat status;
  if (file < 0 || fstat(file, &status)) fail("%s. Name a .tflite file", strerror(errno));
  content_bytes = (size_t)status.st_size;
  content = mmap(NULL, content_bytes, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  LiteRtEnvOption cpu_only = {kLiteRtEnvOptionTagAutoRegisterAccelerators,
                              {kLiteRtAnyTypeInt, kLiteRtHwAcceleratorCpu}};
  check(LiteRtCreateEnvironment(1, &cpu_only, &environment));
  if (content == MAP_FAILED ||
      LiteRtCreateModelFromBuffer(environment, content, content_bytes, &model))
    fail("LiteRT's C API cannot load this file. It may be damaged, no .tflite file, or an LSTM"
         " that was converted without --loops. Try python -m litecheck run");
  check(LiteRtCreateOptions(&options));
  check(LiteRtSetOptionsHardwareAccelerators(options, kLiteRtHwAcceleratorCpu));
  check(LiteRtCreateCompiledModel(environment, model, options, &compiled));
  fprintf(report, "model  %s\n", path);

  // Print the inputs and outputs, with the names in the signature. A variable size is set to 1.
  LiteRtSignature signature;
  check(LiteRtGetModelSignature(model, 0, &signature));
  check(LiteRtGetNumSignatureInputs(signature, &inputs));
  check(LiteRtGetNumSignatureOutputs(signature, &outputs));
  if (inputs > MOST_TENSORS || outputs > MOST_TENSORS - inputs)
    fail("%zu inputs and %zu outputs are too many. Raise MOST_TENSORS", inputs, outputs);
  for (size_t i = 0; i < inputs + outputs; i++) {
    Tensor *tensor = &tensors[i];
    LiteRtLayout *layout = &tensor->type.layout;
    bool varies = false;
    int kind;
    if (i < inputs) {
      check(LiteRtGetSignatureInputName(signature, i, &tensor->name));
      check(LiteRtGetSignatureInputTensorByIndex(signature, i, &tensor->handle));
    } else {
      check(LiteRtGetSignatureOutputName(signature, i - inputs, &tensor->name));
      check(LiteRtGetSignatureOutputTensorByIndex(signature, i - inputs, &tensor->handle));
    }
    check(LiteRtGetRankedTensorType(tensor->handle, &tensor->type));
    tensor->signature = *layout;
    tensor->dtype = find_dtype(tensor->type.element_type);
    if (!tensor->dtype)
      fail("%.60s holds text or a rare dtype. Use python -m litecheck run FILE --input INPUT",
           tensor->name);
    if (layout->rank > LITERT_TENSOR_MAX_RANK)
      fail("%.60s has more than %d dimensions. The file may be damaged", tensor->name,
           LITERT_TENSOR_MAX_RANK);
    check(LiteRtGetQuantizationTypeId(tensor->handle, &kind));
    if (kind == kLiteRtQuantizationPerTensor && tensor->dtype->whole && tensor->dtype->bytes < 8)
      check(LiteRtGetPerTensorQuantization(tensor->handle, &tensor->quantization));
    for (unsigned int j = 0; j < layout->rank; j++)
      if (layout->dimensions[j] < 0) layout->dimensions[j] = 1, varies = true;
    if (i < inputs && varies)
      check(LiteRtCompiledModelResizeInputTensor(compiled, 0, i, layout->dimensions, layout->rank));
  }
  static LiteRtLayout layouts[MOST_TENSORS], after[MOST_TENSORS];
  check(LiteRtGetCompiledModelOutputTensorLayouts(compiled, 0, outputs, layouts, true));
  for (size_t i = 0; i < inputs + outputs; i++) {
    Tensor *tensor = &tensors[i];
    if (i >= inputs) tensor->type.layout = layouts[i - inputs];
    fprintf(report, "%s %s: %s", i < inputs ? "input " : "output", tensor->name,
            tensor->dtype->name);
    print_shape(" ", &tensor->type.layout);
    print_shape(", signature ", &tensor->signature);
    int64_t zero = tensor->quantization.zero_point;
    if (tensor->quantization.scale != 0)
      fprintf(report, zero ? ", real = %.6g * (q %c %" PRId64 ")" : ", real = %.6g * q",
              tensor->quantization.scale, zero > 0 ? '-' : '+', zero > 0 ? zero : -zero);
    fputs("\n", report);
  }

  // Allocate the buffers. Two outputs may be the same tensor, and an output may be an input. Such
  // names share one buffer.
  for (size_t i = 0; i < inputs + outputs; i++) {
    size_t bytes, room, first = 0;
    while (tensors[first].handle != tensors[i].handle) first++;
    LiteRtTensorBufferRequirements needs;
    if (first < i) {
      check(LiteRtDuplicateTensorBuffer(buffers[first]));
      buffers[i] = buffers[first];
    } else {
      check(i < inputs
                ? LiteRtGetCompiledModelInputBufferRequirements(compiled, 0, i, &needs)
                : LiteRtGetCompiledModelOutputBufferRequirements(compiled, 0, i - inputs, &needs));
      check(LiteRtCreateManagedTensorBufferFromRequirements(environment, &tensors[i].type, needs,
                                                            &buffers[i]));
    }
    check(LiteRtGetTensorBufferPackedSize(buffers[i], &bytes));
    check(LiteRtGetTensorBufferSize(buffers[i], &room));
    if (bytes > room)
      fail("%.60s does not fit its memory. The file may be damaged", tensors[i].name);
    tensors[i].count = bytes / tensors[i].dtype->bytes;
  }

  // Prepare the input. A quantized tensor stores integers, which represent real numbers.
  long double value = 1;
  int next = 2;
  for (size_t i = 0; i < inputs; i++) {
    Tensor *tensor = &tensors[i];
    bool quantized = tensor->quantization.scale != 0;
    void *data;
    check(LiteRtLockTensorBuffer(buffers[i], &data, kLiteRtTensorBufferLockModeWrite));
    for (size_t j = 0; j < tensor->count; j++) {
      if (next < argc && !parse(argv[next++], &value))
        fail("'%.60s' is not a number. Give numbers, such as 150", argv[next - 1]);
      long double q = quantized ? quantize(tensor->dtype, tensor->quantization, value) : value;
      if (!store(tensor->dtype, data, j, q))
        fail("%.60s is %s and cannot hold %.9Lg. Give another value", tensor->name,
             tensor->dtype->name, value);
    }
    check(LiteRtUnlockTensorBuffer(buffers[i]));
    print_numbers("input ", i);
  }
  if (next < argc) fail("too many values: %d given, but the inputs take %d", argc - 2, next - 2);

  // Run and read the output
  check(run());
  check(LiteRtGetCompiledModelOutputTensorLayouts(compiled, 0, outputs, after, false));
  if (memcmp(after, layouts, sizeof after))
    fail("the size of an output depends on the input. Use python -m litecheck run");
  for (size_t i = inputs; i < inputs + outputs; i++) print_numbers("output", i);

  // Print the median time of one run. The first run, above, is not timed, because caches are cold.
  int count;
  double seconds = time_of(run, &count);
  fprintf(report, "one run takes %.1f us, the median of %d\n", 1e6 * seconds, count);
  return finish();
}
