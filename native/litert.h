// The part of LiteRT's C API (version 2.3) that deploy.c uses. LiteRT's wheel contains the library,
// but no headers. Source: litert/c/*.h in github.com/google-ai-edge/LiteRT, Apache License 2.0.

#ifndef LITERT_H
#define LITERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A function returns 0 if it succeeds. A function that destroys something returns nothing.
typedef int LiteRtStatus;

// Handles of objects that the library owns.
typedef struct LiteRtEnvironmentT *LiteRtEnvironment;
typedef struct LiteRtModelT *LiteRtModel;
typedef struct LiteRtSignatureT *LiteRtSignature;
typedef struct LiteRtTensorT *LiteRtTensor;
typedef struct LiteRtOptionsT *LiteRtOptions;
typedef struct LiteRtCompiledModelT *LiteRtCompiledModel;
typedef struct LiteRtTensorBufferT *LiteRtTensorBuffer;
typedef struct LiteRtTensorBufferRequirementsT *LiteRtTensorBufferRequirements;

// litert_environment.h: the environment, which all models share. An option is a tag and a value.
enum { kLiteRtEnvOptionTagAutoRegisterAccelerators = 24 };
enum { kLiteRtAnyTypeInt = 2 };
enum { kLiteRtHwAcceleratorCpu = 1 };
typedef struct {
  int tag;
  struct {
    int type;
    int64_t int_value;  // LiteRT has a union of this, a double and a pointer here
  } value;
} LiteRtEnvOption;
LiteRtStatus LiteRtCreateEnvironment(int count, const LiteRtEnvOption *, LiteRtEnvironment *);
void LiteRtDestroyEnvironment(LiteRtEnvironment);

// litert_model.h: the model in a file. LiteRT adds a default signature to a file without one.
enum {
  kLiteRtElementTypeFloat32 = 1,
  kLiteRtElementTypeInt32 = 2,
  kLiteRtElementTypeUInt8 = 3,
  kLiteRtElementTypeInt64 = 4,
  kLiteRtElementTypeBool = 6,
  kLiteRtElementTypeInt16 = 7,
  kLiteRtElementTypeInt8 = 9,
  kLiteRtElementTypeFloat16 = 10,
  kLiteRtElementTypeFloat64 = 11,
  kLiteRtElementTypeUInt64 = 13,
  kLiteRtElementTypeUInt32 = 16,
  kLiteRtElementTypeUInt16 = 17,
};
enum { kLiteRtQuantizationPerTensor = 1 };
enum { LITERT_TENSOR_MAX_RANK = 8 };
typedef struct {
  unsigned int rank : 7;
  unsigned int has_strides : 1;
  int32_t dimensions[LITERT_TENSOR_MAX_RANK];  // a variable size is negative
  uint32_t strides[LITERT_TENSOR_MAX_RANK];
} LiteRtLayout;
typedef struct {
  int element_type;
  LiteRtLayout layout;
} LiteRtRankedTensorType;
typedef struct {
  float scale;
  int64_t zero_point;
} LiteRtQuantizationPerTensor;
LiteRtStatus LiteRtCreateModelFromBuffer(LiteRtEnvironment, const void *, size_t bytes,
                                         LiteRtModel *);
void LiteRtDestroyModel(LiteRtModel);
LiteRtStatus LiteRtGetModelSignature(LiteRtModel, size_t index, LiteRtSignature *);
LiteRtStatus LiteRtGetNumSignatureInputs(LiteRtSignature, size_t *count);
LiteRtStatus LiteRtGetNumSignatureOutputs(LiteRtSignature, size_t *count);
LiteRtStatus LiteRtGetSignatureInputName(LiteRtSignature, size_t index, const char **);
LiteRtStatus LiteRtGetSignatureOutputName(LiteRtSignature, size_t index, const char **);
LiteRtStatus LiteRtGetSignatureInputTensorByIndex(LiteRtSignature, size_t index, LiteRtTensor *);
LiteRtStatus LiteRtGetSignatureOutputTensorByIndex(LiteRtSignature, size_t index, LiteRtTensor *);
LiteRtStatus LiteRtGetRankedTensorType(LiteRtTensor, LiteRtRankedTensorType *);
LiteRtStatus LiteRtGetQuantizationTypeId(LiteRtTensor, int *);
LiteRtStatus LiteRtGetPerTensorQuantization(LiteRtTensor, LiteRtQuantizationPerTensor *);

// litert_options.h and litert_compiled_model.h: the model, compiled for the CPU, GPU or NPU.
LiteRtStatus LiteRtCreateOptions(LiteRtOptions *);
LiteRtStatus LiteRtSetOptionsHardwareAccelerators(LiteRtOptions, int accelerators);
void LiteRtDestroyOptions(LiteRtOptions);
LiteRtStatus LiteRtCreateCompiledModel(LiteRtEnvironment, LiteRtModel, LiteRtOptions,
                                       LiteRtCompiledModel *);
void LiteRtDestroyCompiledModel(LiteRtCompiledModel);
LiteRtStatus LiteRtCompiledModelResizeInputTensor(LiteRtCompiledModel, size_t signature,
                                                  size_t input, const int *sizes, size_t rank);
LiteRtStatus LiteRtGetCompiledModelOutputTensorLayouts(LiteRtCompiledModel, size_t signature,
                                                       size_t count, LiteRtLayout *,
                                                       bool update_allocation);
LiteRtStatus LiteRtGetCompiledModelInputBufferRequirements(LiteRtCompiledModel, size_t signature,
                                                           size_t input,
                                                           LiteRtTensorBufferRequirements *);
LiteRtStatus LiteRtGetCompiledModelOutputBufferRequirements(LiteRtCompiledModel, size_t signature,
                                                            size_t output,
                                                            LiteRtTensorBufferRequirements *);
LiteRtStatus LiteRtRunCompiledModel(LiteRtCompiledModel, size_t signature, size_t inputs,
                                    LiteRtTensorBuffer *, size_t outputs, LiteRtTensorBuffer *);

// litert_tensor_buffer.h: the memory of an input or output. Lock it to read or write it.
enum { kLiteRtTensorBufferLockModeRead = 0, kLiteRtTensorBufferLockModeWrite = 1 };
LiteRtStatus LiteRtCreateManagedTensorBufferFromRequirements(LiteRtEnvironment,
                                                             const LiteRtRankedTensorType *,
                                                             LiteRtTensorBufferRequirements,
                                                             LiteRtTensorBuffer *);
LiteRtStatus LiteRtDuplicateTensorBuffer(LiteRtTensorBuffer);  // destroy it once more then
void LiteRtDestroyTensorBuffer(LiteRtTensorBuffer);
LiteRtStatus LiteRtGetTensorBufferSize(LiteRtTensorBuffer, size_t *bytes);
LiteRtStatus LiteRtGetTensorBufferPackedSize(LiteRtTensorBuffer, size_t *bytes);
LiteRtStatus LiteRtLockTensorBuffer(LiteRtTensorBuffer, void **, int mode);
LiteRtStatus LiteRtUnlockTensorBuffer(LiteRtTensorBuffer);

#endif
