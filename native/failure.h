// A failure prints one line and no more: the output waits in memory until all went well, and what
// LiteRT writes to stderr goes through a pipe, of which the line quotes the first error.

#ifndef FAILURE_H
#define FAILURE_H

#include "litert.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static FILE *report;  // the output
static char *report_text;
static size_t report_length;
static const char *subject;  // what a failure's line begins with: the file
static int terminal, messages[2] = {-1, -1};

static void release(void);  // the program's: it destroys what LiteRT holds

// LiteRT throws C++ exceptions on some damaged files, which end here.
static void aborted(int number) {
  static const char reason[] = ": LiteRT gives up on this file. Make it anew\n";
  (void)number;
  bool said = write(terminal, subject, strlen(subject)) > 0;
  said = write(terminal, reason, sizeof reason - 1) > 0 && said;
  _exit(said ? EXIT_FAILURE : 2);
}

// Return the file that is given.
static const char *begin(int argc, char **argv) {
  if (argc < 2) {
    fputs("usage: deploy MODEL.tflite [VALUE ...]\n", stderr);
    exit(EXIT_FAILURE);
  }
  subject = argv[1];
  // What is closed of 0 to 2 is opened so that writing fails: nothing else may get its number.
  int spare = open("/dev/null", O_RDONLY);
  while (spare >= 0 && spare <= STDERR_FILENO) spare = open("/dev/null", O_RDONLY);
  if (spare >= 0) close(spare);
  signal(SIGABRT, aborted);
  report = open_memstream(&report_text, &report_length);
  terminal = dup(STDERR_FILENO);
  if (!report) abort();  // there is no memory for anything
  if (terminal >= 0 && pipe(messages) == 0) {
    for (int i = 0; i < 2; i++) fcntl(messages[i], F_SETFL, O_NONBLOCK);  // neither end waits
    dup2(messages[1], STDERR_FILENO);
  }
  return subject;
}

static void end(void) {
  release();
  fclose(report);
  dup2(terminal, STDERR_FILENO);
}

// Say in one line what is wrong and what to do.
static _Noreturn void fail(const char *format, ...) {
  char line[PATH_MAX + 1000];
  va_list arguments;
  va_start(arguments, format);
  int length = snprintf(line, PATH_MAX, "%s: ", subject);
  length = length < PATH_MAX ? length : PATH_MAX - 1;
  vsnprintf(line + length, sizeof line - (size_t)length, format, arguments);
  va_end(arguments);
  for (char *c = line; *c; c++)  // the name of a file or a tensor may hold anything
    if (iscntrl((unsigned char)*c)) *c = ' ';
  end();
  free(report_text);
  fprintf(stderr, "%s\n", line);
  exit(EXIT_FAILURE);
}

// Fail if LiteRT refused something.
static void check(LiteRtStatus status) {
  static char text[65536];
  if (!status) return;
  ssize_t length = read(messages[0], text, sizeof text - 1);
  text[length > 0 ? length : 0] = '\0';
  char *error = strstr(text, "ERROR: ");
  while (error && !strncmp(error, "ERROR: tflite/", 14)) error = strstr(error + 1, "ERROR: ");
  error = error ? error + strlen("ERROR: ") : "LiteRT refuses it";
  size_t end_of_line = strcspn(error, "\n");
  fail("%.*s. Are file and values right? python -m litecheck run tells more", (int)end_of_line, error);
}

// Print the report; return what main is to return.
static int finish(void) {
  end();
  bool printed = fputs(report_text, stdout) >= 0 && fflush(stdout) == 0;
  free(report_text);
  if (!printed) perror("deploy cannot print");
  return printed ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
