// Entry of the load: `load PLANFILE`.
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "load.h"

int main(int count, char **words) {
  if (count != 2) failed("usage: load PLANFILE");
  signal(SIGPIPE, SIG_IGN);
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  struct plan plan;
  readPlan(words[1], &plan);
  if (strcmp(plan.mode, "consume") == 0) runConsume(&plan);
  else if (strcmp(plan.mode, "produce") == 0 || strcmp(plan.mode, "request") == 0) runProduce(&plan);
  else failed("unknown mode %s", plan.mode);
  return 0;
}
