/* Measures this processor's ceilings: reading memory, and products of matrices that stay in its caches. */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "products.h"

typedef enum { FILL, READ, MULTIPLY } Work;

typedef struct Team Team;

typedef struct {
    Team *team;
    int index;
    int64_t sum;
    double began, ended;
} Member;

struct Team {
    Work work;
    int num_threads;
    atomic_int arrived;
    int64_t *words; /* FILL, READ */
    int64_t num_words;
    Kind kind; /* MULTIPLY */
    const int32_t *left, *right;
    int inner_words, repetitions;
    float *out;
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

enum { STREAMS = 4, UNROLLED = 4 };
typedef int64_t wide __attribute__((vector_size(64), aligned(8)));

/* The sum of the words, read in several parallel streams, because one alone leaves some of the bandwidth unused. */
static int64_t read_words(const int64_t *words, int64_t count) {
    wide sums[STREAMS][UNROLLED] = {};
    const int64_t step = 8 * UNROLLED, length = count / STREAMS / step * step;
    for (int64_t i = 0; i < length; i += step)
        for (int s = 0; s < STREAMS; s++)
            for (int u = 0; u < UNROLLED; u++) sums[s][u] += *(const wide *)(words + s * length + i + 8 * u);
    int64_t sum = 0;
    for (int s = 0; s < STREAMS; s++)
        for (int u = 0; u < UNROLLED; u++)
            for (int lane = 0; lane < 8; lane++) sum += sums[s][u][lane];
    for (int64_t i = STREAMS * length; i < count; i++) sum += words[i];
    return sum;
}

static void *take_part(void *argument) {
    Member *member = argument;
    Team *team = member->team;
    const int64_t begin = team->num_words * member->index / team->num_threads;
    const int64_t end = team->num_words * (member->index + 1) / team->num_threads;
    float *out = team->out + (int64_t)member->index * ROWS * COLUMNS;
    shape_registers();
    atomic_fetch_add(&team->arrived, 1);
    while (atomic_load(&team->arrived) < team->num_threads) sched_yield();
    member->began = now();
    if (team->work == FILL)
        for (int64_t i = begin; i < end; i++) team->words[i] = i;
    else if (team->work == READ)
        member->sum = read_words(team->words + begin, end - begin);
    else
        for (int i = 0; i < team->repetitions; i++) {
            if (team->kind == FLOAT32) multiply(FLOAT32, team->left, team->right, team->inner_words, out);
            else if (team->kind == BFLOAT16) multiply(BFLOAT16, team->left, team->right, team->inner_words, out);
            else multiply(INT8, team->left, team->right, team->inner_words, out);
        }
    member->ended = now();
    return NULL;
}

/* Seconds from the start of the first thread to the end of the last one, or -1 if a thread cannot be started. */
static double run(Team *team, int64_t *sum) {
    Member members[team->num_threads];
    pthread_t threads[team->num_threads];
    int started = 0;
    for (; started < team->num_threads; started++) {
        members[started] = (Member){.team = team, .index = started};
        if (pthread_create(threads + started, NULL, take_part, members + started)) break;
    }
    atomic_fetch_add(&team->arrived, team->num_threads - started); /* so that nobody waits for those that are missing */
    double began = INFINITY, ended = 0;
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        *sum += members[i].sum;
        began = fmin(began, members[i].began);
        ended = fmax(ended, members[i].ended);
    }
    return started < team->num_threads ? -1 : ended - began;
}

/* Write each word's index into it; each thread writes the part that it will read. */
double fill(int64_t *words, int64_t num_words, int32_t num_threads) {
    Team team = {.work = FILL, .num_threads = num_threads, .words = words, .num_words = num_words};
    int64_t sum = 0;
    return run(&team, &sum);
}

/* Read every word once, and add their total to `sum`. */
double read_all(int64_t *words, int64_t num_words, int32_t num_threads, int64_t *sum) {
    Team team = {.work = READ, .num_threads = num_threads, .words = words, .num_words = num_words};
    return run(&team, sum);
}

/* Each thread multiplies the same matrices `repetitions` times into its own part of `out`. */
double product(int32_t kind, const int32_t *left, const int32_t *right, int32_t words, float *out, int32_t repetitions,
               int32_t num_threads) {
    Team team = {.work = MULTIPLY, .num_threads = num_threads, .kind = kind, .left = left, .right = right,
                 .inner_words = words, .repetitions = repetitions, .out = out};
    int64_t sum = 0;
    return run(&team, &sum);
}
