/* One forward pass of a Llama-like decoder over the paged cache, for CPUs.
 *
 * Arithmetic is float32. Weights and cache are float32, or bfloat16 widened as they are read (-DBF16): decoding is
 * bound by memory, so halving what is read nearly halves the time. A pass is a fixed sequence of loops whose items
 * the threads take as they come. A loop is over when its items are done, not when every thread has arrived: a thread
 * that loses its core to another program holds nobody up, except in the middle of an item.
 *
 * Layouts:
 *   matrix   [columns / 32][inputs][32]; gate and up alternate by 16 columns, so that a tile holds both
 *   keys     [slots / 16][kv_heads][head_size][16]: one vector is one dimension of 16 neighbouring tokens
 *   values   [slots / 16][kv_heads][16][head_size]
 */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16
#define PANEL 32
#define TILE_QUERIES 8
#define MOST_ROWS 12 /* accumulators of a tile: 24 of the 32 vector registers */

typedef float vec __attribute__((vector_size(64), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(64), aligned(4)));

#ifdef BF16
typedef uint16_t element;
typedef uint16_t half_vec __attribute__((vector_size(32), aligned(2)));
typedef uint32_t uvec __attribute__((vector_size(64)));
static inline vec load(const element *p) {
    return (vec)(__builtin_convertvector(*(const half_vec *)p, uvec) << 16);
}
static inline float widen(element e) {
    uint32_t bits = (uint32_t)e << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static inline element narrow(float value) { /* round to nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (element)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}
#else
typedef float element;
static inline vec load(const element *p) { return *(const vec *)p; }
static inline float widen(element e) { return e; }
static inline element narrow(float value) { return value; }
#endif

typedef struct {
    const element *data;
    const float *bias; /* NULL where there is none */
    int32_t inputs, columns;
} Matrix;

typedef struct {
    Matrix qkv, output, gate_up, down;
    const float *input_norm, *post_norm;
    const float *query_norm, *key_norm; /* NULL where there is none */
    element *keys, *values;
    int32_t window; /* 0: every token sees all before it */
} Layer;

typedef struct {
    int32_t num_layers, hidden, num_heads, num_kv_heads, head_size, intermediate, block_size, num_threads;
    float epsilon, scale;
    const Layer *layers;
    const element *embedding; /* [vocabulary][hidden] */
    const float *final_norm;
    const float *cosines, *sines; /* [positions][head_size] */
    Matrix head;
} Model;

typedef struct {
    int32_t num_tokens, num_rows, num_logits, tables_stride;
    const int64_t *input_ids, *positions, *slots; /* [num_tokens] */
    const int64_t *cu_seqlens;                    /* [num_rows + 1] */
    const int64_t *tables;                        /* [num_rows][tables_stride] */
    const int64_t *logits_indices;                /* [num_logits] */
    float *residual, *normed, *qkv, *attended, *activated; /* [num_tokens][their width] */
    float *scores;                                /* [num_threads][TILE_QUERIES][scores_stride] */
    int64_t scores_stride;
    int32_t *tiles;                               /* room for 2 * num_tokens */
    float *logits;                                /* [num_logits][head.columns] */
} Step;

/* `next` is the pass it counts for (high half) and the first item not taken; `done` counts finished items. */
typedef struct {
    _Alignas(64) atomic_uint_least64_t next;
    atomic_int done;
} Loop;

typedef struct {
    Model model;
    Step step;
    int num_tiles, num_loops;
    Loop *loops;
    atomic_uint pass;
    pthread_mutex_t mutex;
    pthread_cond_t begun;
} Decoder;

/* One thread's way through a pass. */
typedef struct {
    Decoder *decoder;
    int index, loop, held;
    unsigned pass;
} Thread;

/* Wait a moment for another thread; after many moments, offer the core to whoever needs it. */
static inline void pause_briefly(int spins) {
    if (spins > 4000) sched_yield();
#ifdef __x86_64__
    else __builtin_ia32_pause();
#endif
}

/* Take up to `chunk` of the current loop's `count` items. Without any left: wait for those that others hold, go on to
 * the next loop and return 0. A thread that is late by a whole pass takes nothing. */
static int take(Thread *thread, int count, int chunk, int *begin, int *end) {
    Decoder *decoder = thread->decoder;
    Loop *loop = decoder->loops + thread->loop;
    if (thread->held) atomic_fetch_add(&loop->done, thread->held);
    uint_least64_t next = atomic_load(&loop->next);
    while (next >> 32 == thread->pass && (int)(uint32_t)next < count)
        if (atomic_compare_exchange_weak(&loop->next, &next, next + chunk)) {
            *begin = (int)(uint32_t)next;
            *end = *begin + chunk < count ? *begin + chunk : count;
            thread->held = *end - *begin;
            return 1;
        }
    for (int spins = 0; atomic_load(&loop->done) < count && atomic_load(&decoder->pass) == thread->pass; spins++)
        pause_briefly(spins);
    thread->held = 0;
    thread->loop++;
    return 0;
}

/* for (i = 0; i < count; i++), shared by all threads, `chunk` at a time; none goes on before all of it is done. */
#define SHARED_FOR(thread, i, count, chunk)                                         \
    for (int i = 0, i##_end = 0; take(thread, (count), (chunk), &i, &i##_end);)     \
        for (; i < i##_end; i++)

static inline float reduce_add(vec v) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

static inline float reduce_max(vec v) {
    float largest = v[0];
    for (int i = 1; i < LANES; i++) largest = v[i] > largest ? v[i] : largest;
    return largest;
}

static inline vec choose(ivec mask, vec yes, vec no) { return (vec)(((ivec)yes & mask) | ((ivec)no & ~mask)); }

/* exp by a polynomial after Cephes; accurate to a few units in the last place on [-87, 88]. */
static inline vec exp_vec(vec x) {
    const float magic = 12582912.0f;
    x = choose(x < -87.0f, (vec){} - 87.0f, x);
    vec shifted = x * 1.44269504088896341f + magic;
    ivec power = (ivec)shifted - (ivec)((vec){} + magic);
    vec n = shifted - magic;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec y = r * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    return y * (vec)((power + 127) << 23);
}

static inline void rms_norm(float *out, const float *x, const float *weight, int size, float epsilon) {
    vec squares = {};
    for (int i = 0; i < size; i += LANES) squares += *(const vec *)(x + i) * *(const vec *)(x + i);
    float factor = 1.0f / sqrtf(reduce_add(squares) / size + epsilon);
    for (int i = 0; i < size; i += LANES) *(vec *)(out + i) = *(const vec *)(x + i) * factor * *(const vec *)(weight + i);
}

typedef enum { STORE, ADD, GATE } Epilogue;

/* `rows` rows of activations against one panel of 32 columns. `rows` is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) void tile(const int rows, const float *a, int64_t stride,
                                                       const Matrix *m, int panel, float *out, int64_t out_stride,
                                                       const Epilogue epilogue) {
    const element *w = m->data + (int64_t)panel * m->inputs * PANEL;
    vec acc[MOST_ROWS][2];
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = (vec){};
    for (int k = 0; k < m->inputs; k++, w += PANEL) {
        vec w0 = load(w), w1 = load(w + LANES);
        for (int r = 0; r < rows; r++) {
            float x = a[r * stride + k];
            acc[r][0] += x * w0;
            acc[r][1] += x * w1;
        }
    }
    if (m->bias)
        for (int r = 0; r < rows; r++) {
            acc[r][0] += *(const vec *)(m->bias + panel * PANEL);
            acc[r][1] += *(const vec *)(m->bias + panel * PANEL + LANES);
        }
    for (int r = 0; r < rows; r++) {
        if (epilogue == GATE) {
            *(vec *)(out + r * out_stride + panel * LANES) = acc[r][0] / (1.0f + exp_vec(-acc[r][0])) * acc[r][1];
        } else {
            vec *to = (vec *)(out + r * out_stride + panel * PANEL);
            to[0] = epilogue == ADD ? to[0] + acc[r][0] : acc[r][0];
            to[1] = epilogue == ADD ? to[1] + acc[r][1] : acc[r][1];
        }
    }
}

/* out = a x m, by all threads; each keeps a panel in its cache while the rows pass by, in tiles of equal height. */
static inline __attribute__((always_inline)) void multiply(Thread *thread, const float *a, int64_t stride, int num_rows,
                                                           const Matrix *m, float *out, int64_t out_stride,
                                                           const Epilogue epilogue) {
    SHARED_FOR(thread, panel, m->columns / PANEL, num_rows > 8 || m->columns < 64 * PANEL ? 1 : 8) {
        const int num_tiles = (num_rows + MOST_ROWS - 1) / MOST_ROWS;
        for (int t = 0; t < num_tiles; t++) {
            const int begin = num_rows * t / num_tiles, end = num_rows * (t + 1) / num_tiles;
            const float *from = a + begin * stride;
            float *to = out + begin * out_stride;
            switch (end - begin) {
#define CASE(rows) case rows: tile(rows, from, stride, m, panel, to, out_stride, epilogue); break
                CASE(1); CASE(2); CASE(3); CASE(4); CASE(5); CASE(6);
                CASE(7); CASE(8); CASE(9); CASE(10); CASE(11); CASE(12);
            }
        }
    }
}

static inline void rotate(float *x, const float *cosines, const float *sines, int size) {
    for (int i = 0; i < size / 2; i++) {
        float low = x[i], high = x[i + size / 2];
        x[i] = low * cosines[i] - high * sines[i];
        x[i + size / 2] = high * cosines[i + size / 2] + low * sines[i + size / 2];
    }
}

/* Norms and rotary embedding of one token's heads around one key/value head, and its place in the cache. */
static void place(const Model *model, const Layer *layer, const Step *step, int token, int kv_head) {
    const int size = model->head_size, group = model->num_heads / model->num_kv_heads;
    float *row = step->qkv + (int64_t)token * layer->qkv.columns;
    const float *cosines = model->cosines + step->positions[token] * size;
    const float *sines = model->sines + step->positions[token] * size;
    for (int g = 0; g < group; g++) {
        float *query = row + (kv_head * group + g) * size;
        if (layer->query_norm) rms_norm(query, query, layer->query_norm, size, model->epsilon);
        rotate(query, cosines, sines, size);
        for (int d = 0; d < size; d++) query[d] *= model->scale;
    }
    float *key = row + (model->num_heads + kv_head) * size;
    const float *value = row + (model->num_heads + model->num_kv_heads + kv_head) * size;
    if (layer->key_norm) rms_norm(key, key, layer->key_norm, size, model->epsilon);
    rotate(key, cosines, sines, size);
    const int64_t slot = step->slots[token];
    const int64_t base = (slot / LANES * model->num_kv_heads + kv_head) * LANES * size;
    for (int d = 0; d < size; d++) layer->keys[base + d * LANES + slot % LANES] = narrow(key[d]);
    for (int d = 0; d < size; d++) layer->values[base + slot % LANES * size + d] = narrow(value[d]);
}

/* Where the 16 tokens from position 16 * index begin, in keys and values alike. */
static inline int64_t unit_base(const Model *model, const int64_t *table, int index, int kv_head) {
    const int per_block = model->block_size / LANES;
    const int64_t unit = table[index / per_block] * per_block + index % per_block;
    return (unit * model->num_kv_heads + kv_head) * LANES * model->head_size;
}

typedef struct {
    const float *query[TILE_QUERIES];
    float *out[TILE_QUERIES];
    int64_t position[TILE_QUERIES];
} Queries;

/* Where a row's keys and values lie: units `first` to `last` of its table. */
typedef struct {
    const Model *model;
    const int64_t *table;
    int64_t first, last;
    int kv_head;
} Span;

/* The unit after this one lies elsewhere in memory, where no hardware prefetcher looks. */
static inline const element *following(const Span *span, const element *cache, int64_t unit) {
    return cache + unit_base(span->model, span->table, unit + 1 < span->last ? unit + 1 : unit, span->kv_head);
}

/* Scores of the queries against every key they see, -infinity for the others; returns each query's largest. */
static inline __attribute__((always_inline)) void score(const int count, const Span *span, const Layer *layer,
                                                        const Queries *queries, float *scores, int64_t stride,
                                                        float *largest) {
    const ivec lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const int size = span->model->head_size;
    vec most[TILE_QUERIES];
    for (int q = 0; q < count; q++) most[q] = (vec){} - INFINITY;
    for (int64_t unit = span->first; unit < span->last; unit++) {
        const element *keys = layer->keys + unit_base(span->model, span->table, unit, span->kv_head);
        const element *next = following(span, layer->keys, unit);
        vec sums[TILE_QUERIES];
        for (int q = 0; q < count; q++) sums[q] = (vec){};
        for (int d = 0; d < size; d++) {
            __builtin_prefetch(next + d * LANES);
            vec key = load(keys + d * LANES);
            for (int q = 0; q < count; q++) sums[q] += queries->query[q][d] * key;
        }
        for (int q = 0; q < count; q++) {
            const int end = (int)(queries->position[q] + 1 - unit * LANES), begin = layer->window ? end - layer->window : 0;
            sums[q] = choose((lanes >= begin) & (lanes < end), sums[q], (vec){} - INFINITY);
            *(vec *)(scores + q * stride + (unit - span->first) * LANES) = sums[q];
            most[q] = choose(most[q] > sums[q], most[q], sums[q]);
        }
    }
    for (int q = 0; q < count; q++) largest[q] = reduce_max(most[q]);
}

/* `width` vectors of the output, from dimension `d` on: the values weighted and divided by the weights' total. */
static inline __attribute__((always_inline)) void weigh(const int count, const int width, int d, const Span *span,
                                                        const Layer *layer, const Queries *queries,
                                                        const float *weights, int64_t stride, const float *total) {
    const int size = span->model->head_size;
    vec sums[TILE_QUERIES][4];
    for (int q = 0; q < count; q++)
        for (int w = 0; w < width; w++) sums[q][w] = (vec){};
    for (int64_t unit = span->first; unit < span->last; unit++, weights += LANES) {
        const element *values = layer->values + unit_base(span->model, span->table, unit, span->kv_head) + d;
        const element *next = following(span, layer->values, unit) + d;
        for (int i = 0; i < LANES; i++) {
            vec value[4];
            for (int w = 0; w < width; w++) {
                __builtin_prefetch(next + i * size + w * LANES);
                value[w] = load(values + i * size + w * LANES);
            }
            for (int q = 0; q < count; q++)
                for (int w = 0; w < width; w++) sums[q][w] += weights[q * stride + i] * value[w];
        }
    }
    for (int q = 0; q < count; q++)
        for (int w = 0; w < width; w++) *(vec *)(queries->out[q] + d + w * LANES) = sums[q][w] / total[q];
}

/* Exact attention of a few queries that share their keys: scores, softmax, weighted values. */
static inline __attribute__((always_inline)) void attend(const int count, const Span *span, const Layer *layer,
                                                         const Queries *queries, float *scores, int64_t stride) {
    float largest[TILE_QUERIES], total[TILE_QUERIES];
    score(count, span, layer, queries, scores, stride, largest);
    for (int q = 0; q < count; q++) {
        vec sum = {};
        for (int64_t i = 0; i < (span->last - span->first) * LANES; i += LANES) {
            vec *weight = (vec *)(scores + q * stride + i);
            vec shifted = *weight - largest[q];
            *weight = choose(shifted < -80.0f, (vec){}, exp_vec(shifted));
            sum += *weight;
        }
        total[q] = reduce_add(sum);
    }
    const int width = count > 4 ? 2 : 4; /* accumulators: count times width, of 32 registers */
    int d = 0;
    for (; d + width * LANES <= span->model->head_size; d += width * LANES)
        weigh(count, width, d, span, layer, queries, scores, stride, total);
    for (; d < span->model->head_size; d += LANES) weigh(count, 1, d, span, layer, queries, scores, stride, total);
}

/* A tile is a few consecutive tokens of one row; its queries are theirs times the heads that share a key head. */
static void attend_tile(const Thread *thread, const Model *model, const Layer *layer, const Step *step, int tile_index, int kv_head) {
    const int size = model->head_size, group = model->num_heads / model->num_kv_heads;
    const int row = step->tiles[2 * tile_index], begin = step->tiles[2 * tile_index + 1];
    const int most = group < TILE_QUERIES ? TILE_QUERIES / group : 1;
    const int left = (int)step->cu_seqlens[row + 1] - begin;
    const int num_queries = (left < most ? left : most) * group;
    float *scores = step->scores + thread->index * TILE_QUERIES * step->scores_stride;
    for (int done = 0; done < num_queries; done += TILE_QUERIES) {
        const int count = num_queries - done < TILE_QUERIES ? num_queries - done : TILE_QUERIES;
        Queries queries;
        for (int q = 0; q < TILE_QUERIES; q++) {
            const int from = done + (q < count ? q : count - 1); /* the rest repeats the last one */
            const int token = begin + from / group, head = kv_head * group + from % group;
            queries.query[q] = step->qkv + (int64_t)token * layer->qkv.columns + head * size;
            queries.out[q] = step->attended + ((int64_t)token * model->num_heads + head) * size;
            queries.position[q] = step->positions[token];
        }
        const int64_t seen_from = layer->window ? queries.position[0] + 1 - layer->window : 0;
        const Span span = {model, step->tables + (int64_t)row * step->tables_stride,
                           seen_from > 0 ? seen_from / LANES : 0, queries.position[count - 1] / LANES + 1, kv_head};
        if (count == 1) attend(1, &span, layer, &queries, scores, step->scores_stride);
        else if (count == 2) attend(2, &span, layer, &queries, scores, step->scores_stride);
        else if (count <= 4) attend(4, &span, layer, &queries, scores, step->scores_stride);
        else attend(8, &span, layer, &queries, scores, step->scores_stride);
    }
}

static int make_tiles(const Model *model, const Step *step) {
    const int group = model->num_heads / model->num_kv_heads;
    const int most = group < TILE_QUERIES ? TILE_QUERIES / group : 1;
    int count = 0;
    for (int row = 0; row < step->num_rows; row++)
        for (int begin = (int)step->cu_seqlens[row]; begin < step->cu_seqlens[row + 1]; begin += most) {
            step->tiles[2 * count] = row;
            step->tiles[2 * count++ + 1] = begin;
        }
    return count;
}

static inline void norm_rows(Thread *thread, const Model *model, const Step *step, const float *weight) {
    SHARED_FOR(thread, t, step->num_tokens, 4)
        rms_norm(step->normed + (int64_t)t * model->hidden, step->residual + (int64_t)t * model->hidden, weight,
                 model->hidden, model->epsilon);
}

static void run_layer(Thread *thread, const Model *model, const Layer *layer, const Step *step) {
    const int hidden = model->hidden, tokens = step->num_tokens, kv_heads = model->num_kv_heads;
    norm_rows(thread, model, step, layer->input_norm);
    multiply(thread, step->normed, hidden, tokens, &layer->qkv, step->qkv, layer->qkv.columns, STORE);
    SHARED_FOR(thread, i, tokens * kv_heads, 4) place(model, layer, step, i / kv_heads, i % kv_heads);
    SHARED_FOR(thread, i, thread->decoder->num_tiles * kv_heads, 1)
        attend_tile(thread, model, layer, step, i / kv_heads, i % kv_heads);
    multiply(thread, step->attended, model->num_heads * model->head_size, tokens, &layer->output, step->residual, hidden,
             ADD);
    norm_rows(thread, model, step, layer->post_norm);
    multiply(thread, step->normed, hidden, tokens, &layer->gate_up, step->activated, model->intermediate, GATE);
    multiply(thread, step->activated, model->intermediate, tokens, &layer->down, step->residual, hidden, ADD);
}

enum { LOOPS_PER_LAYER = 8, LOOPS_AROUND = 3 };

static void run_pass(Decoder *decoder, int thread_index, unsigned pass) {
    Thread thread = {decoder, thread_index, 0, 0, pass};
    const Model *model = &decoder->model;
    const Step *step = &decoder->step;
    const int hidden = model->hidden;
    SHARED_FOR(&thread, t, step->num_tokens, 4)
        for (int i = 0; i < hidden; i++)
            step->residual[(int64_t)t * hidden + i] = widen(model->embedding[step->input_ids[t] * hidden + i]);
    for (int l = 0; l < model->num_layers; l++) run_layer(&thread, model, model->layers + l, step);
    SHARED_FOR(&thread, i, step->num_logits, 4)
        rms_norm(step->normed + (int64_t)i * hidden, step->residual + step->logits_indices[i] * hidden,
                 model->final_norm, hidden, model->epsilon);
    multiply(&thread, step->normed, hidden, step->num_logits, &model->head, step->logits, model->head.columns, STORE);
}

typedef struct {
    Decoder *decoder;
    int index;
} Start;

/* A thread beside the caller's: waits for a pass to begin, takes part in it, forever. */
static void *assist(void *argument) {
    Start start = *(Start *)argument;
    free(argument);
    Decoder *decoder = start.decoder;
    for (unsigned seen = 0;;) {
        for (int spins = 0; spins < 2000 && atomic_load(&decoder->pass) == seen; spins++) pause_briefly(spins);
        pthread_mutex_lock(&decoder->mutex);
        while (atomic_load(&decoder->pass) == seen) pthread_cond_wait(&decoder->begun, &decoder->mutex);
        seen = atomic_load(&decoder->pass);
        pthread_mutex_unlock(&decoder->mutex);
        run_pass(decoder, start.index, seen);
    }
    return NULL;
}

/* The decoder and its threads live as long as the process. Returns NULL where memory or threads cannot be had. */
Decoder *create(const Model *model) {
    Decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder) return NULL;
    decoder->model = *model;
    decoder->num_loops = model->num_layers * LOOPS_PER_LAYER + LOOPS_AROUND;
    decoder->loops = aligned_alloc(64, decoder->num_loops * sizeof(Loop));
    if (!decoder->loops) return NULL;
    pthread_mutex_init(&decoder->mutex, NULL);
    pthread_cond_init(&decoder->begun, NULL);
    for (int i = 1; i < model->num_threads; i++) {
        Start *start = malloc(sizeof *start);
        pthread_t thread;
        if (!start) return NULL;
        *start = (Start){decoder, i};
        if (pthread_create(&thread, NULL, assist, start)) return NULL;
        pthread_detach(thread);
    }
    return decoder;
}

/* One pass. The caller's thread is one of the decoder's, and returns when the last loop is done. */
void forward(Decoder *decoder, const Step *step) {
    const unsigned pass = atomic_load(&decoder->pass) + 1;
    pthread_mutex_lock(&decoder->mutex);
    decoder->step = *step;
    decoder->num_tiles = make_tiles(&decoder->model, step);
    for (int i = 0; i < decoder->num_loops; i++) {
        atomic_store(&decoder->loops[i].done, 0);
        atomic_store(&decoder->loops[i].next, (uint_least64_t)pass << 32);
    }
    atomic_store(&decoder->pass, pass);
    pthread_cond_broadcast(&decoder->begun);
    pthread_mutex_unlock(&decoder->mutex);
    run_pass(decoder, 0, pass);
}
