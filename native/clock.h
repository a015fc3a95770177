// Measure how long one run takes.

#ifndef CLOCK_H
#define CLOCK_H

#include "failure.h"

#include <stdlib.h>
#include <time.h>

enum { MOST_RUNS = 100 };

static double seconds_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  double difference = *(const double *)a - *(const double *)b;
  return (difference > 0) - (difference < 0);
}

// Return the median time of a run in seconds, and store the number of runs in count. There are 3 to
// 100 runs. After the third run, no run starts later than 0.05 seconds after the first.
static double time_of(LiteRtStatus (*run)(void), int *count) {
  double seconds[MOST_RUNS], end = seconds_now() + 0.05;
  for (*count = 0; *count < 3 || (*count < MOST_RUNS && seconds_now() < end); ++*count) {
    double start = seconds_now();
    check(run());
    seconds[*count] = seconds_now() - start;
  }
  qsort(seconds, (size_t)*count, sizeof *seconds, by_size);
  return seconds[*count / 2];
}

#endif
