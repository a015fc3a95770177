// A program that fails prints one line and nothing else. Its output stays in memory until all has
// succeeded. What LiteRT writes to stderr goes into a pipe. The line quotes its first error.
//
// Define ARGUMENTS before you include this file if the program takes more than a model.

#ifndef FAILURE_H
#define FAILURE_H

#include "litert.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef ARGUMENTS
#define ARGUMENTS "MODEL.tflite"  // for the usage line
#endif

static FILE *report;  // the output, in memory until finish() prints it
static char *report_text;
static size_t report_length;
static const char *program;  // its name, for the messages about itself
static const char *subject;  // the file, with which the line of a failure begins
static int terminal, messages[2] = {-1, -1};  // the real stderr, and the pipe that replaces it

static void release(void);  // the program defines it: destroy all LiteRT objects

// Report an abort. LiteRT throws C++ exceptions on some damaged files, and they end in SIGABRT.
static void aborted(int number) {
  static const char reason[] = ": LiteRT aborts on this file. Convert the model again\n";
  (void)number;
  bool said = write(terminal, subject, strlen(subject)) > 0;
  said = write(terminal, reason, sizeof reason - 1) > 0 && said;
  _exit(said ? EXIT_FAILURE : 2);
}

// Start the program, and return the path of the model.
static const char *begin(int argc, char **argv) {
  const char *slash = argc ? strrchr(argv[0], '/') : NULL;
  program = slash ? slash + 1 : argc ? argv[0] : "program";
  if (argc < 2) {
    fprintf(stderr, "usage: %s " ARGUMENTS "\n", program);
    exit(EXIT_FAILURE);
  }
  subject = argv[1];
  // If stdin, stdout or stderr is closed, occupy its number with a file that cannot be written.
  // Otherwise the next file that is opened would get that number.
  int spare = open("/dev/null", O_RDONLY);
  while (spare >= 0 && spare <= STDERR_FILENO) spare = open("/dev/null", O_RDONLY);
  if (spare >= 0) close(spare);
  signal(SIGABRT, aborted);
  report = open_memstream(&report_text, &report_length);
  terminal = dup(STDERR_FILENO);
  if (!report) abort();  // there is no memory at all
  if (terminal >= 0 && pipe(messages) == 0) {
    for (int i = 0; i < 2; i++) fcntl(messages[i], F_SETFL, O_NONBLOCK);  // neither end blocks
    dup2(messages[1], STDERR_FILENO);
  }
  return subject;
}

// Release LiteRT's objects, complete the report, and restore stderr.
static void end(void) {
  release();
  fclose(report);
  dup2(terminal, STDERR_FILENO);
}

// End the program with one line that says what is wrong and what to do.
static _Noreturn void fail(const char *format, ...) {
  char line[PATH_MAX + 1000];
  va_list arguments;
  va_start(arguments, format);
  int length = snprintf(line, PATH_MAX, "%s: ", subject);
  length = length < PATH_MAX ? length : PATH_MAX - 1;
  vsnprintf(line + length, sizeof line - (size_t)length, format, arguments);
  va_end(arguments);
  for (char *c = line; *c; c++)  // names of files and tensors may contain control characters
    if (iscntrl((unsigned char)*c)) *c = ' ';
  end();
  free(report_text);
  fprintf(stderr, "%s\n", line);
  exit(EXIT_FAILURE);
}

// End the program if a call of LiteRT failed.
static void check(LiteRtStatus status) {
  static char text[65536];
  if (!status) return;
  ssize_t length = read(messages[0], text, sizeof text - 1);
  text[length > 0 ? length : 0] = '\0';
  char *error = strstr(text, "ERROR: ");
  while (error && !strncmp(error, "ERROR: tflite/", 14)) error = strstr(error + 1, "ERROR: ");
  error = error ? error + strlen("ERROR: ") : "LiteRT failed without a message";
  size_t end_of_line = strcspn(error, "\n");
  fail("%.*s. Check the file and the values, or try python -m litecheck run", (int)end_of_line,
       error);
}

// Print the report, and return the exit status for main.
static int finish(void) {
  end();
  bool printed = fputs(report_text, stdout) >= 0 && fflush(stdout) == 0;
  free(report_text);
  if (!printed) fprintf(stderr, "%s cannot print: %s\n", program, strerror(errno));
  return printed ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
