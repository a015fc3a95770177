// Read and write the numbers in a tensor: as its dtype stores them, and as real numbers.

#ifndef NUMBERS_H
#define NUMBERS_H

#include "litert.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
  int type;
  const char *name;
  size_t bytes;
  bool whole;       // it holds integers only
  double low, end;  // integers: low <= number < end; floating-point numbers: |number| < end
} Dtype;

static const Dtype DTYPES[] = {
    {kLiteRtElementTypeFloat32, "float32", 4, false, 0, 0x1.ffffffp127},
    {kLiteRtElementTypeFloat64, "float64", 8, false, 0, INFINITY},
    {kLiteRtElementTypeFloat16, "float16", 2, false, 0, 65520},
    {kLiteRtElementTypeInt8, "int8", 1, true, -0x1p7, 0x1p7},
    {kLiteRtElementTypeInt16, "int16", 2, true, -0x1p15, 0x1p15},
    {kLiteRtElementTypeInt32, "int32", 4, true, -0x1p31, 0x1p31},
    {kLiteRtElementTypeInt64, "int64", 8, true, -0x1p63, 0x1p63},
    {kLiteRtElementTypeUInt8, "uint8", 1, true, 0, 0x1p8},
    {kLiteRtElementTypeUInt16, "uint16", 2, true, 0, 0x1p16},
    {kLiteRtElementTypeUInt32, "uint32", 4, true, 0, 0x1p32},
    {kLiteRtElementTypeUInt64, "uint64", 8, true, 0, 0x1p64},
    {kLiteRtElementTypeBool, "bool", 1, true, 0, 2},
};

// Return the Dtype for LiteRT's number of a dtype, or NULL if the table above does not have it.
static const Dtype *find_dtype(int type) {
  for (size_t i = 0; i < sizeof DTYPES / sizeof *DTYPES; i++)
    if (DTYPES[i].type == type) return &DTYPES[i];
  return NULL;
}

// Read a number from a text. Return whether the whole text is one finite number.
static bool parse(const char *text, long double *number) {
  char *rest;
  *number = strtold(text, &rest);
  return rest != text && !*rest && isfinite(*number);
}

// C11 has no float16. It has a sign bit, 5 bits of exponent and 10 bits of fraction.
static double from_float16(uint16_t bits) {
  int exponent = bits >> 10 & 31, fraction = bits & 1023;
  double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
  if (exponent == 31) size = fraction ? NAN : INFINITY;
  return bits >> 15 ? -size : size;
}

static uint16_t to_float16(double number) {
  int exponent = number ? (int)fmax(ilogb(number), -14) : -14;  // below 2^-14 the step is 2^-24
  int steps = (int)rint(ldexp(fabs(number), 10 - exponent));
  return (uint16_t)((signbit(number) ? 1 : 0) << 15 | (((exponent + 14) << 10) + steps));
}

// Return the i-th number as it is stored. A long double holds every int64 exactly.
static long double stored(const Dtype *dtype, const void *data, size_t i) {
  switch (dtype->type) {
    case kLiteRtElementTypeFloat32: return ((const float *)data)[i];
    case kLiteRtElementTypeFloat64: return ((const double *)data)[i];
    case kLiteRtElementTypeFloat16: return from_float16(((const uint16_t *)data)[i]);
    case kLiteRtElementTypeInt8: return ((const int8_t *)data)[i];
    case kLiteRtElementTypeInt16: return ((const int16_t *)data)[i];
    case kLiteRtElementTypeInt32: return ((const int32_t *)data)[i];
    case kLiteRtElementTypeInt64: return ((const int64_t *)data)[i];
    case kLiteRtElementTypeUInt16: return ((const uint16_t *)data)[i];
    case kLiteRtElementTypeUInt32: return ((const uint32_t *)data)[i];
    case kLiteRtElementTypeUInt64: return ((const uint64_t *)data)[i];
    default: return ((const uint8_t *)data)[i];  // uint8 and bool
  }
}

// Store the i-th number if the dtype can hold it. Return whether it can.
static bool store(const Dtype *dtype, void *data, size_t i, long double number) {
  if (dtype->whole) {
    if (number < dtype->low || number >= dtype->end || number != rintl(number)) return false;
  } else if (fabsl(number) >= dtype->end || isinf((double)number)) {
    return false;
  }
  switch (dtype->type) {
    case kLiteRtElementTypeFloat32: ((float *)data)[i] = (float)number; break;
    case kLiteRtElementTypeFloat64: ((double *)data)[i] = (double)number; break;
    case kLiteRtElementTypeFloat16: ((uint16_t *)data)[i] = to_float16((double)number); break;
    case kLiteRtElementTypeInt8: ((int8_t *)data)[i] = (int8_t)number; break;
    case kLiteRtElementTypeInt16: ((int16_t *)data)[i] = (int16_t)number; break;
    case kLiteRtElementTypeInt32: ((int32_t *)data)[i] = (int32_t)number; break;
    case kLiteRtElementTypeInt64: ((int64_t *)data)[i] = (int64_t)number; break;
    case kLiteRtElementTypeUInt16: ((uint16_t *)data)[i] = (uint16_t)number; break;
    case kLiteRtElementTypeUInt32: ((uint32_t *)data)[i] = (uint32_t)number; break;
    case kLiteRtElementTypeUInt64: ((uint64_t *)data)[i] = (uint64_t)number; break;
    default: ((uint8_t *)data)[i] = (uint8_t)number;
  }
  return true;
}

// Return the integer q of a real number, where real = scale * (q - zero point). q is clipped to the
// range of the dtype.
static long double quantize(const Dtype *dtype, LiteRtQuantizationPerTensor by, long double real) {
  double q = rint((double)real / by.scale) + (double)by.zero_point;
  return fmax(dtype->low, fmin(dtype->end - 1, q));
}

// Return the real number of an integer q, rounded to float32.
static long double dequantize(LiteRtQuantizationPerTensor by, long double q) {
  return (float)(by.scale * ((double)q - (double)by.zero_point));
}

#endif
