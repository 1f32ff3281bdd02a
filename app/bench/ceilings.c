/* What this processor can do at most: reads from memory, and products of matrices that stay in its caches.
 *
 * Products are real ones, and repeated they add up, so that the caller can check every number: `out` grows by
 * left times right at each repetition. The rows of `left` and the panels of `right` hold 32-bit words: one float32,
 * two bfloat16 or four int8 that are neighbours along the inner dimension, which is what one lane multiplies at once.
 *
 *   left    [ROWS][words]
 *   right   [COLUMNS / panel][words][panel]
 *   out     [threads][ROWS][COLUMNS], float32 or int32
 */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

/* A tile of `TILE` rows and two vectors has its accumulators in registers, with a few left for what is multiplied. */
#if defined __AVX512F__
#define LANES 16
#define TILE 12
#elif defined __AVX__
#define LANES 8
#define TILE 6
#elif defined __aarch64__
#define LANES 4
#define TILE 12
#else
#define LANES 4
#define TILE 6
#endif
#define PANEL (2 * LANES)

enum { ROWS = 96, COLUMNS = 128 };
const int32_t num_rows = ROWS, num_columns = COLUMNS, panel_columns = PANEL;

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4)));

typedef enum { FLOAT32, BFLOAT16, INT8 } Kind;

/* Whether products of this kind have instructions here. AMX has faster ones for bfloat16 than those used below. */
int32_t has_kind(int32_t kind) {
#if defined __AVX512BF16__ && !defined __AMX_BF16__
    if (kind == BFLOAT16) return 1;
#endif
#if defined __AVX512VNNI__ && !defined __AMX_INT8__
    if (kind == INT8) return 1;
#endif
    return kind == FLOAT32;
}

/* sum + left * right, lane by lane; `left` is the same word in every lane. int8: left is unsigned, right is signed. */
static inline __attribute__((always_inline)) vec multiply_add(const Kind kind, vec sum, int32_t left, ivec right) {
#ifdef __AVX512BF16__
    if (kind == BFLOAT16)
        return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(left), (__m512bh)right);
#endif
#ifdef __AVX512VNNI__
    if (kind == INT8)
        return (vec)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(left), (__m512i)right);
#endif
    float x;
    memcpy(&x, &left, 4);
    return sum + x * (vec)right;
}

static inline __attribute__((always_inline)) void tile(const Kind kind, const int32_t *left, const ivec *right,
                                                       int words, float *out) {
    vec sums[TILE][2];
    for (int r = 0; r < TILE; r++)
        for (int c = 0; c < 2; c++) sums[r][c] = *(const vec *)(out + r * COLUMNS + c * LANES);
    for (int k = 0; k < words; k++) {
        const ivec first = right[2 * k], second = right[2 * k + 1];
        for (int r = 0; r < TILE; r++) {
            sums[r][0] = multiply_add(kind, sums[r][0], left[r * words + k], first);
            sums[r][1] = multiply_add(kind, sums[r][1], left[r * words + k], second);
        }
    }
    for (int r = 0; r < TILE; r++)
        for (int c = 0; c < 2; c++) *(vec *)(out + r * COLUMNS + c * LANES) = sums[r][c];
}

static inline __attribute__((always_inline)) void multiply(const Kind kind, const int32_t *left, const int32_t *right,
                                                           int words, float *out) {
    for (int p = 0; p < COLUMNS / PANEL; p++)
        for (int r = 0; r < ROWS; r += TILE)
            tile(kind, left + r * words, (const ivec *)(right + p * words * PANEL), words, out + r * COLUMNS + p * PANEL);
}

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

/* The sum of the words, read as a few streams side by side: one alone leaves some of the bandwidth unused. */
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

/* Seconds from the first thread's begin to the last one's end, or -1 where a thread cannot be started. */
static double run(Team *team, int64_t *sum) {
    Member members[team->num_threads];
    pthread_t threads[team->num_threads];
    int started = 0;
    for (; started < team->num_threads; started++) {
        members[started] = (Member){.team = team, .index = started};
        if (pthread_create(threads + started, NULL, take_part, members + started)) break;
    }
    atomic_fetch_add(&team->arrived, team->num_threads - started); /* nobody waits for those that are not */
    double began = INFINITY, ended = 0;
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        *sum += members[i].sum;
        began = fmin(began, members[i].began);
        ended = fmax(ended, members[i].ended);
    }
    return started < team->num_threads ? -1 : ended - began;
}

/* Write its own index into every word, each thread the part that it will read. */
double fill(int64_t *words, int64_t num_words, int32_t num_threads) {
    Team team = {.work = FILL, .num_threads = num_threads, .words = words, .num_words = num_words};
    int64_t sum = 0;
    return run(&team, &sum);
}

/* Read every word once; their total is added to `sum`. */
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
