/* Teams of worker threads that share the recurrence of some streams, the barrier at which the threads
 * of a team wait for one another, and the place where they wait for the next step.
 *
 * Streams are independent of one another, and so are the units of one time step. A worker computes
 * some of the streams (its rows) for some of the units (its columns of the weights). The next time
 * step needs all units of the step before. So the workers that share the same rows, a team, meet
 * once in each time step.
 */
#ifndef CHARLSTM_TEAM
#define CHARLSTM_TEAM

#include <stddef.h>
#include <time.h>
#if defined(__linux__)
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if !defined(_WIN32)
#include <sched.h>
#endif

/* Looks at the barrier before a waiting thread sleeps; on the machines of scripts/benchmarks, about
 * 20 to 50 microseconds. A thread whose core is taken away by another process is waited for much
 * longer than that. */
#define LOOKS_BEFORE_SLEEP 1000
#define LOOKS_PER_TIME 64 /* looks of a ready thread between two looks at the clock */
#define SLEEP_NANOSECONDS 20000000 /* after which a sleeping thread looks whether it is to stop */
#define ENDED (-1)                 /* the work was stopped: there are no more meetings */

/* The barrier of the threads that work together, on a cache line of its own. */
typedef struct {
  int members;  /* number of threads */
  int arrived;  /* number of threads that wait */
  int meetings; /* number of completed meetings, or ENDED */
  int sleepers; /* number of threads that sleep */
  int stopped;  /* 1: a thread failed, and no thread is to wait any more */
  int unused[11];
} Team;

INLINE int read_now(const int *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }

static void look_again(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Seconds by a clock that never goes back. */
static double seconds_now(void) {
  struct timespec now;
#if defined(_WIN32)
  timespec_get(&now, TIME_UTC);
#else
  clock_gettime(CLOCK_MONOTONIC, &now);
#endif
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Let another thread use the core. */
static void give_way(void) {
#if defined(_WIN32)
  look_again();
#else
  sched_yield();
#endif
}

/* Sleep until team->meetings differs from `seen`, or for a short time. */
static void sleep_until_met(Team *team, int seen) {
  __atomic_add_fetch(&team->sleepers, 1, __ATOMIC_SEQ_CST);
#if defined(__linux__)
  const struct timespec limit = {0, SLEEP_NANOSECONDS};
  syscall(SYS_futex, &team->meetings, FUTEX_WAIT_PRIVATE, seen, &limit, NULL, 0);
#else
  (void)seen;
  give_way();
#endif
  __atomic_sub_fetch(&team->sleepers, 1, __ATOMIC_SEQ_CST);
}

/* Change team->meetings from `seen` to `next`; returns 0 if another thread has changed it before. */
static int change_meetings(Team *team, int seen, int next) {
  return __atomic_compare_exchange_n(&team->meetings, &seen, next, 0, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
}

/* Wait until all threads of the team have called this function. Writes of each thread before the
 * meeting are visible to all threads after it. Returns 1 if the work is to stop, else 0. The last
 * meeting of a team returns the same to all threads: all of them go on, or none. */
static int meet(Team *team) {
  if (team->members == 1) return read_now(&team->stopped);
  const int seen = read_now(&team->meetings);
  int now = seen;
  if (seen == ENDED) return 1;
  if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_ACQ_REL) == team->members) {
    __atomic_store_n(&team->arrived, 0, __ATOMIC_RELAXED);
    now = change_meetings(team, seen, seen + 1) ? seen + 1 : ENDED;
#if defined(__linux__)
    if (__atomic_load_n(&team->sleepers, __ATOMIC_SEQ_CST))
      syscall(SYS_futex, &team->meetings, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#endif
  }
  for (int look = 0; now == seen; now = read_now(&team->meetings))
    if (read_now(&team->stopped))
      change_meetings(team, seen, ENDED);
    else if (look++ < LOOKS_BEFORE_SLEEP)
      look_again();
    else
      sleep_until_met(team, seen);
  return now == ENDED;
}

/* The thread of a worker, on a cache line of its own. Between two steps, the thread stays ready for a
 * short time, because it would take longer to wake it up. */
enum presence { ABSENT, READY, BUSY };
typedef struct {
  int presence;
  int needed; /* 1: the thread was absent when the step began, and the caller must send one */
  int unused[14];
} Thread;

/* Begin a thread's share of a step. */
static void begin_share(Thread *thread) {
  int ready = READY;
  thread->needed = !__atomic_compare_exchange_n(&thread->presence, &ready, BUSY, 0, __ATOMIC_ACQ_REL,
                                                __ATOMIC_ACQUIRE);
  if (thread->needed) __atomic_store_n(&thread->presence, BUSY, __ATOMIC_RELEASE);
}

/* End a thread's share of a step, and stay ready for the next one for some seconds. Returns 1 if the next
 * step has begun, 0 if the thread is to leave. */
static int end_share(Thread *thread, double patience, const Team *team) {
  if (patience <= 0) {
    __atomic_store_n(&thread->presence, ABSENT, __ATOMIC_RELEASE);
    return 0;
  }
  __atomic_store_n(&thread->presence, READY, __ATOMIC_RELEASE);
  const double end = seconds_now() + patience;
  for (int look = 1; read_now(&thread->presence) == READY; look++) {
    int ready = READY;
    look_again();
    const int leaves = read_now(&team->stopped) || (look % LOOKS_PER_TIME == 0 && seconds_now() > end);
    if (leaves &&
        __atomic_compare_exchange_n(&thread->presence, &ready, ABSENT, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
      return 0;
  }
  return 1;
}

/* Wait until a thread has ended its share of a step. */
static void wait_for_share(const Thread *thread) {
  for (int look = 0; read_now(&thread->presence) == BUSY; look++)
    if (look < LOOKS_BEFORE_SLEEP)
      look_again();
    else
      give_way();
}

/* Slice k of range(items) cut into `count` slices of nearly equal length, as `share` in threads.py
 * cuts it; *length is set to its length. */
static ptrdiff_t share_of(ptrdiff_t items, ptrdiff_t count, ptrdiff_t k, ptrdiff_t *length) {
  const ptrdiff_t start = items * k / count;
  *length = items * (k + 1) / count - start;
  return start;
}

/* The share of a worker in a recurrence: rows of the batch and units, each as the first one and
 * their number, and the team that computes these rows. */
typedef struct {
  ptrdiff_t row, rows, unit, units;
  Team *team;
} Part;

#endif
