// What this machine can do at most, so that figures stand beside its limits: `calibrate DIRECTORY SECONDS`.
//
//   device     one O_DIRECT | O_DSYNC write at a time into a file that is there already, 4 KiB to 8 MiB; and for longer
//   memory     memcpy between regions far larger than the caches
//   loopback   a byte there and back over TCP, and a stream one way
//
// Prints one JSON object; what the machine refuses stands in "missing" with its reason.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { samplesMax = 1 << 16, fileBytes = 128 << 20, writeBytesMax = 8 << 20, copyBytes = 256 << 20 };

static uint64_t nowNanos(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static double cpuSeconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static uint64_t samples[samplesMax];

static int ascending(const void *a, const void *b) {
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return left < right ? -1 : left > right;
}

static double microsAt(int count, double share) {
  int at = (int)(share * (count - 1));
  return (double)samples[at] / 1000;
}

static char missing[4][256];
static int missingCount;

static void miss(const char *what, const char *why) {
  snprintf(missing[missingCount++], sizeof missing[0], "%s: %s", what, why);
}

static void device(const char *directory, double seconds) {
  char path[4096];
  snprintf(path, sizeof path, "%s/calibrate-%d", directory, (int)getpid());
  printf("\"device\":[");
  // The flag is set after the file exists: some file systems refuse to create with it.
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  uint8_t *bytes = NULL;
  if (fd < 0) miss("device", strerror(errno));
  else if (posix_memalign((void **)&bytes, 4096, writeBytesMax) != 0) miss("device", "no memory");
  else {
    for (int i = 0; i < writeBytesMax; i++) bytes[i] = (uint8_t)(rand() >> 3);
    for (int at = 0; at < fileBytes; at += writeBytesMax)
      if (pwrite(fd, bytes, writeBytesMax, at) != writeBytesMax) miss("device", strerror(errno)), at = fileBytes;
    fsync(fd);
    close(fd);
    fd = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (fd < 0) miss("device", strerror(errno));
  }
  const char *comma = "";
  for (int size = 4096; fd >= 0 && size <= writeBytesMax; size *= 2) {
    uint64_t begun = nowNanos(), until = begun + (uint64_t)(seconds * 1e9), now = begun;
    double cpu = cpuSeconds();
    int count = 0;
    off_t at = 0;
    while (now < until && count < samplesMax) {
      bytes[count % size] ^= 1;
      if (pwrite(fd, bytes, (size_t)size, at) != size) {
        miss("device", strerror(errno));
        break;
      }
      at = at + size + size > fileBytes ? 0 : at + size;
      uint64_t then = now;
      now = nowNanos();
      samples[count++] = now - then;
    }
    if (count == 0) break;
    double took = (double)(now - begun) / 1e9;
    qsort(samples, (size_t)count, sizeof *samples, ascending);
    printf("%s{\"bytes\":%d,\"writesPerSecond\":%.1f,\"mbPerSecond\":%.2f,\"p50Us\":%.1f,\"p99Us\":%.1f,\"cpuUsPerWrite\":%.2f}",
           comma, size, count / took, (double)count * size / 1e6 / took, microsAt(count, 0.5), microsAt(count, 0.99),
           (cpuSeconds() - cpu) / count * 1e6);
    comma = ",";
  }
  printf("]");
  // Cloud disks pay out of a credit first: what they give in the second half is what they give.
  double sustained = 0;
  if (fd >= 0) {
    uint64_t begun = nowNanos(), half = begun + (uint64_t)(seconds * 8e9), until = begun + (uint64_t)(seconds * 16e9);
    uint64_t now = begun, halfAt = 0, bytesBehind = 0;
    for (off_t at = 0; now < until; at = (at + (1 << 20)) % fileBytes) {
      bytes[4] ^= 1;
      if (pwrite(fd, bytes, 1 << 20, at) != 1 << 20) break;
      now = nowNanos();
      if (now >= half && halfAt == 0) halfAt = now;
      else if (halfAt > 0) bytesBehind += 1 << 20;
    }
    if (halfAt > 0 && now > halfAt) sustained = (double)bytesBehind / 1e6 / ((double)(now - halfAt) / 1e9);
    close(fd);
  }
  printf(",\"sustainedMbPerSecond\":%.1f", sustained);
  unlink(path);
  free(bytes);
}

static void memory(double seconds) {
  printf(",\"memory\":[");
  uint8_t *from = malloc(copyBytes), *to = malloc(copyBytes);
  if (from == NULL || to == NULL) miss("memory", "no memory");
  else {
    memset(from, 1, copyBytes);
    memset(to, 2, copyBytes);
    const char *comma = "";
    int sizes[] = {4096, 65536, 1 << 20};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      size_t size = (size_t)sizes[i], at = 0;
      uint64_t begun = nowNanos(), until = begun + (uint64_t)(seconds * 1e9), now = begun, copied = 0;
      while (now < until) {
        for (int n = 0; n < 64; n++) {
          memcpy(to + at, from + at, size);
          at = (at + size) % copyBytes;
          copied += size;
        }
        now = nowNanos();
      }
      printf("%s{\"bytes\":%zu,\"gbPerSecond\":%.3f}", comma, size, (double)copied / (double)(now - begun));
      comma = ",";
    }
  }
  free(from);
  free(to);
  printf("]");
}

struct echo {
  int listener;
  bool stream;
};

static void *serve(void *given) {
  struct echo *echo = given;
  static uint8_t buffer[1 << 20];
  int fd = accept(echo->listener, NULL, NULL);
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ssize_t got;
  while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0)
    if (!echo->stream && send(fd, buffer, (size_t)got, MSG_NOSIGNAL) != got) break;
  close(fd);
  return NULL;
}

static int dial(struct echo *echo, pthread_t *thread) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof address;
  echo->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(echo->listener, (struct sockaddr *)&address, length) != 0 || listen(echo->listener, 1) != 0) return -1;
  getsockname(echo->listener, (struct sockaddr *)&address, &length);
  pthread_create(thread, NULL, serve, echo);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr *)&address, length) != 0) return -1;
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static void loopback(double seconds) {
  struct echo echo = {.stream = false};
  pthread_t thread;
  static uint8_t buffer[256 << 10];
  int fd = dial(&echo, &thread);
  if (fd < 0) {
    miss("loopback", strerror(errno));
    printf(",\"loopback\":null");
    return;
  }
  uint64_t begun = nowNanos(), until = begun + (uint64_t)(seconds * 1e9), now = begun;
  int count = 0;
  while (now < until && count < samplesMax) {
    if (send(fd, buffer, 1024, MSG_NOSIGNAL) != 1024) break;
    for (ssize_t have = 0, got; have < 1024; have += got)
      if ((got = recv(fd, buffer, 1024, 0)) <= 0) break;
    uint64_t then = now;
    now = nowNanos();
    samples[count++] = now - then;
  }
  close(fd);
  pthread_join(thread, NULL);
  close(echo.listener);
  qsort(samples, (size_t)count, sizeof *samples, ascending);
  printf(",\"loopback\":{\"roundTripUs\":%.2f,\"roundTripP99Us\":%.2f", microsAt(count, 0.5), microsAt(count, 0.99));
  struct echo stream = {.stream = true};
  fd = dial(&stream, &thread);
  uint64_t bytes = 0;
  begun = now = nowNanos();
  until = begun + (uint64_t)(seconds * 1e9);
  while (now < until) {
    ssize_t sent = send(fd, buffer, sizeof buffer, MSG_NOSIGNAL);
    if (sent <= 0) break;
    bytes += (uint64_t)sent;
    now = nowNanos();
  }
  close(fd);
  pthread_join(thread, NULL);
  close(stream.listener);
  printf(",\"gbPerSecond\":%.3f}", (double)bytes / (double)(now - begun));
}

int main(int count, char **words) {
  double seconds = count == 3 ? atof(words[2]) : 0;
  if (seconds <= 0) {
    fputs("usage: calibrate DIRECTORY SECONDS\n", stderr);
    return 64;
  }
  putchar('{');
  device(words[1], seconds);
  memory(seconds);
  loopback(seconds);
  printf(",\"missing\":[");
  for (int i = 0; i < missingCount; i++) printf("%s\"%s\"", i == 0 ? "" : ",", missing[i]);
  puts("]}");
  return 0;
}
