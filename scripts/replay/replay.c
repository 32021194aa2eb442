/* Repeats recorded calls of the native library and compares their results: a test of the library on
 * systems for which no Python can be had.
 *
 *   replay LIBRARY CALLS [INSTRUCTION_SET...]
 *
 * Each instruction set repeats all calls of its kind, float32 or bfloat16. By default these are the
 * instruction sets that the library finds usable. record.py writes the file CALLS and describes it.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#include <windows.h>
#define OPEN(path) ((void *)LoadLibraryA(path))
#define SYMBOL(library, name) ((void *)GetProcAddress((HMODULE)(library), name))
#else
#include <dlfcn.h>
#include <pthread.h>
#define OPEN(path) dlopen(path, RTLD_NOW)
#define SYMBOL(library, name) dlsym(library, name)
#endif

enum { MAX_ARGUMENTS = 10, MAX_WORKERS = 8, LINE = 64 };

typedef struct {
  char name[40];
  int64_t rounded, workers, arguments, regions, pointers, results;
} Call;
typedef struct {
  int64_t is_pointer, value, offset; /* value: a number, or the region that is pointed to */
} Argument;
typedef struct {
  int64_t size, phase; /* phase: the address modulo the size of a cache line */
} Region;
typedef struct {
  int64_t region, offset, to_region, to_offset;
} Pointer;
typedef struct {
  int64_t region, offset, count; /* of float32 */
  double tolerance;              /* relative to the largest expected number */
} Result;

typedef int64_t A;
typedef void (*Function)(A, A, A, A, A, A, A, A, A, A);
typedef int (*TrainStep)(void *, ptrdiff_t);
typedef struct {
  TrainStep run;
  void *step;
  ptrdiff_t worker;
} Share;

static void fail(const char *what, const char *which) {
  fprintf(stderr, "replay: %s %s\n", what, which);
  exit(1);
}

static void *memory(size_t size) {
  void *p = calloc(size, 1);
  if (p == NULL) fail("no memory", "");
  return p;
}

/* Return *place, and move it by a number of bytes. */
static const void *take(const char **place, int64_t size) {
  const char *here = *place;
  *place += size;
  return here;
}

/* A function of an instruction set, or NULL. */
static void *find(void *library, const char *name, const char *isa) {
  char full[100];
  snprintf(full, sizeof full, "%s_%s", name, isa);
  return SYMBOL(library, full);
}

#if defined(_WIN32)
static DWORD WINAPI make_share(void *of) {
#else
static void *make_share(void *of) {
#endif
  const Share *share = of;
  share->run(share->step, share->worker);
  return 0;
}

/* Make a training step, with a thread for each worker. */
static void train(void *library, const char *isa, void *step, int64_t workers) {
  Share shares[MAX_WORKERS];
  const TrainStep run = (TrainStep)find(library, "train_step", isa);
  ((void (*)(void *))find(library, "begin_training_step", isa))(step);
  for (int64_t k = 0; k < workers; k++) shares[k] = (Share){run, step, k};
#if defined(_WIN32)
  HANDLE threads[MAX_WORKERS];
  for (int64_t k = 1; k < workers; k++) threads[k] = CreateThread(NULL, 0, make_share, shares + k, 0, NULL);
  make_share(shares);
  for (int64_t k = 1; k < workers; k++) WaitForSingleObject(threads[k], INFINITE);
#else
  pthread_t threads[MAX_WORKERS];
  for (int64_t k = 1; k < workers; k++) pthread_create(threads + k, NULL, make_share, shares + k);
  make_share(shares);
  for (int64_t k = 1; k < workers; k++) pthread_join(threads[k], NULL);
#endif
}

/* Repeat the call at *place in an instruction set, unless the call is of the other kind, and move
 * *place behind the call. Returns 1 if the call was repeated. */
static int replay(void *library, const char *isa, const char **place) {
#define TAKE(type, count) take(place, (count) * (int64_t)sizeof(type))
  const Call *call = TAKE(Call, 1);
  const Argument *arguments = TAKE(Argument, call->arguments);
  const Region *regions = TAKE(Region, call->regions);
  const Pointer *pointers = TAKE(Pointer, call->pointers);
  const Result *results = TAKE(Result, call->results);
  const int rounded = find(library, "multiply_bfloat16", isa) != NULL;
  const int is_of_this_kind = rounded == (call->rounded != 0);
  char **blocks = memory((size_t)call->regions * sizeof *blocks);
  char **copies = memory((size_t)call->regions * sizeof *copies);
  for (int64_t k = 0; k < call->regions; k++) {
    blocks[k] = memory((size_t)regions[k].size + 2 * LINE);
    copies[k] = blocks[k] + (LINE - (uintptr_t)blocks[k] % LINE) + regions[k].phase;
    memcpy(copies[k], take(place, regions[k].size), (size_t)regions[k].size);
  }
  if (is_of_this_kind) {
    for (int64_t k = 0; k < call->pointers; k++) {
      const char *to = copies[pointers[k].to_region] + pointers[k].to_offset;
      memcpy(copies[pointers[k].region] + pointers[k].offset, &to, sizeof to);
    }
    A a[MAX_ARGUMENTS] = {0};
    for (int64_t k = 0; k < call->arguments; k++)
      a[k] = arguments[k].is_pointer ? (A)(copies[arguments[k].value] + arguments[k].offset)
                                     : arguments[k].value;
    if (call->workers) {
      train(library, isa, (void *)a[0], call->workers);
    } else {
      const Function f = (Function)find(library, call->name, isa);
      if (f == NULL) fail("no function", call->name);
      f(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]);
    }
  }
  for (int64_t k = 0; k < call->results; k++) {
    const float *expected = TAKE(float, results[k].count);
    const float *got = (const float *)(copies[results[k].region] + results[k].offset);
    double largest = 0, error = 0;
    for (int64_t n = 0; is_of_this_kind && n < results[k].count; n++) {
      largest = fmax(largest, fabs(expected[n]));
      error = fmax(error, isnan(got[n]) ? INFINITY : fabs((double)got[n] - expected[n]));
    }
    if (error > results[k].tolerance * largest) {
      fprintf(stderr, "%s, %s, result %d: error %g of %g\n", call->name, isa, (int)k, error, largest);
      exit(1);
    }
  }
  for (int64_t k = 0; k < call->regions; k++) free(blocks[k]);
  free(blocks);
  free(copies);
  return is_of_this_kind;
}

int main(int count, char **words) {
  if (count < 3) fail("usage:", "replay LIBRARY CALLS [INSTRUCTION_SET...]");
  void *library = OPEN(words[1]);
  if (library == NULL) fail("cannot load", words[1]);
  FILE *file = fopen(words[2], "rb");
  if (file == NULL) fail("cannot open", words[2]);
  fseek(file, 0, SEEK_END);
  const size_t size = (size_t)ftell(file);
  rewind(file);
  char *bytes = memory(size);
  if (fread(bytes, 1, size, file) != size) fail("cannot read", words[2]);

  char sets[200] = "";
  for (int k = 3; k < count; k++) strcat(strcat(sets, words[k]), " ");
  if (count == 3) {
    const char *(*names)(void) = (const char *(*)(void))SYMBOL(library, "instruction_set_names");
    if (names == NULL) fail("no function", "instruction_set_names");
    strcpy(sets, names());
  }
  for (char *isa = strtok(sets, " "); isa != NULL; isa = strtok(NULL, " ")) {
    int calls = 0;
    for (const char *place = bytes; place < bytes + size;) calls += replay(library, isa, &place);
    printf("%s: %d calls gave the recorded results\n", isa, calls);
    fflush(stdout);
    if (calls == 0) fail("no calls for", isa);
  }
  return 0;
}
