/* One forward pass of a Llama-like decoder over the paged cache, for CPUs.
 *
 * Weights and cache are float32, or bfloat16 (-DBF16): decoding is bound by memory, so halving what is read nearly
 * halves the time. With -DQUANTIZATION=8 or 4 the weights are integers with scales. Sums are float32 throughout; what
 * is multiplied has the precision of what it meets: activations are rounded to bfloat16, or to 8 bits, just before a
 * product with such weights, while the residual stream, norms, rotations and softmax stay float32.
 */
#include <stdlib.h>

#include "vectors.h"
#include "threads.h"
#include "matrix.h"
#include "packing.h"
#include "amx.h"
#include "products.h"
#include "attention.h"
#include "attention_amx.h"
#include "sampling.h"

typedef struct {
    Matrix qkv, output, gate_up, down;
    const float *input_norm, *post_norm;
    const float *query_norm, *key_norm; /* NULL where there is none */
    element *keys, *values;
    int64_t window; /* 0 where there is none */
} Layer;

typedef struct {
    int32_t num_layers, hidden, num_heads, num_kv_heads, head_size, intermediate, block_size, num_threads;
    float epsilon, scale;
    const Layer *layers;
    const element *embedding; /* [vocabulary][hidden]; NULL where the head's weights are the embedding */
    const float *final_norm;
    const float *cosines, *sines; /* [positions][head_size] */
    Matrix head;
} Model;

/* A few consecutive tokens of one row. Its queries are these tokens times the heads that share a key head. */
typedef struct {
    int32_t row, begin, count;
    int32_t to; /* the first one's place among the tokens that are attended */
} Tile;

typedef struct {
    int32_t num_tokens, num_rows, num_logits, tables_stride;
    const int64_t *input_ids, *positions, *slots; /* [num_tokens] */
    const int32_t *cu_seqlens;                    /* [num_rows + 1] */
    const int32_t *tables;                        /* [num_rows][tables_stride] */
    const int64_t *logits_indices;                /* [num_logits] */
    float *residual, *normed, *qkv, *attended, *activated; /* [num_tokens][their width] */
    float *wanted;                                /* the residual stream of the tokens whose logits are */
    char *operand;                                /* the rows of the next product: [num_tokens][widest row] */
    float *scores;                                /* [num_threads][MAX_QUERIES][scores_stride] */
    int64_t scores_stride;
    Tile *tiles;                                  /* room for num_tokens + num_logits */
    float *logits;                                /* [num_logits][head.columns] */
} Step;

#include "layout.h"

/* The tokens for which a layer is computed to its end. */
typedef struct {
    int num_tokens, num_tiles;
    const Tile *tiles;
    float *residual;
} Part;

typedef struct Work Work;

/* The part of a pass that one thread runs. */
typedef void Routine(Thread *thread, const Work *work);

/* What a pass computes: a step, or sampling. Each thread reads a copy of its own, since one that is late in a pass
 * still compares it with the loops, which have nothing left for it, while the next one is laid ready. */
struct Work {
    Routine *routine;
    const Model *model;
    Step step;
    Part all, wanted;
    Sampling sampling;
};

typedef struct {
    Model model;
    Work work; /* behind the team's mutex */
    Team team;
} Decoder;

static inline void rms_norm(float *out, const float *x, const float *weight, int size, float epsilon) {
    vec squares = {};
    for (int i = 0; i < size; i += LANES) squares += *(const vec *)(x + i) * *(const vec *)(x + i);
    const float factor = 1.0f / sqrtf(reduce_add(squares) / size + epsilon);
    for (int i = 0; i < size; i += LANES) *(vec *)(out + i) = *(const vec *)(x + i) * factor * *(const vec *)(weight + i);
}

static inline void rotate(float *restrict low, float *restrict high, const float *restrict cosines,
                          const float *restrict sines, int half) {
    for (int i = 0; i < half; i++) {
        const float x = low[i], y = high[i];
        low[i] = x * cosines[i] - y * sines[i];
        high[i] = y * cosines[half + i] + x * sines[half + i];
    }
}

/* Convert floats to elements of the cache, in place. */
static inline void shorten(float *x, int size, float scale) {
    for (int d = 0; d < size; d += LANES) store_elements((element *)x + d, *(const vec *)(x + d) * scale);
}

/* Norms and rotary embedding of one token's heads for one key/value head, which is stored in the cache. The queries are
 * converted, in place, to the lanes that attention reads. */
static void place(const Model *model, const Layer *layer, const Step *step, int token, int kv_head) {
    const int size = model->head_size, group = model->num_heads / model->num_kv_heads;
    float *row = step->qkv + (int64_t)token * layer->qkv.columns;
    const float *cosines = model->cosines + step->positions[token] * size;
    const float *sines = model->sines + step->positions[token] * size;
    for (int g = 0; g < group; g++) {
        float *query = row + (kv_head * group + g) * size;
        if (layer->query_norm) rms_norm(query, query, layer->query_norm, size, model->epsilon);
        rotate(query, query + size / 2, cosines, sines, size / 2);
        shorten(query, size, model->scale * LOG2_E);
    }
    float *key = row + (model->num_heads + kv_head) * size;
    float *value = row + (model->num_heads + model->num_kv_heads + kv_head) * size;
    if (layer->key_norm) rms_norm(key, key, layer->key_norm, size, model->epsilon);
    rotate(key, key + size / 2, cosines, sines, size / 2);
    shorten(key, size, 1);
    shorten(value, size, 1);
    const int64_t slot = step->slots[token];
    const int64_t base = (slot / LANES * model->num_kv_heads + kv_head) * LANES * size;
    element *keys = layer->keys + base + slot % LANES * PER_LANE;
    element *values = layer->values + base + slot % LANES / PER_LANE * size * PER_LANE + slot % PER_LANE;
    for (int d = 0; d < size; d += PER_LANE) memcpy(keys + d * LANES, (const element *)key + d, 4);
    for (int d = 0; d < size; d++) values[d * PER_LANE] = ((const element *)value)[d];
}

static void attend_tile(Thread *thread, const Model *model, const Layer *layer, const Step *step, const Tile *tile,
                        int kv_head) {
    const int size = model->head_size, group = model->num_heads / model->num_kv_heads;
    const int num_queries = tile->count * group;
    float *scores = step->scores + thread->index * MAX_QUERIES * step->scores_stride;
    const int at_once = queries_at_once(size);
    for (int done = 0; done < num_queries; done += at_once) {
        const int count = num_queries - done < at_once ? num_queries - done : at_once;
        Queries queries;
        for (int q = 0; q < at_once; q++) {
            const int from = done + (q < count ? q : count - 1); /* the rest repeats the last one */
            const int nth = from / group, head = kv_head * group + from % group;
            const int64_t token = tile->begin + nth, to = tile->to + nth;
            queries.query[q] = (const char *)(step->qkv + token * layer->qkv.columns + head * size);
            queries.out[q] = step->attended + (to * model->num_heads + head) * size;
            queries.position[q] = step->positions[token];
        }
        const int64_t seen_from = layer->window ? queries.position[0] + 1 - layer->window : 0;
        const int64_t end = queries.position[count - 1] + 1;
        const Span span = {
            .keys = layer->keys,
            .values = layer->values,
            .table = step->tables + (int64_t)tile->row * step->tables_stride,
            .first = seen_from > 0 ? seen_from / LANES : 0,
            .last = (end + LANES - 1) / LANES,
            .end = end,
            .block_size = model->block_size,
            .num_kv_heads = model->num_kv_heads,
            .kv_head = kv_head,
            .head_size = size,
            .window = layer->window,
        };
        if (attends_on_tiles(size)) attend_on_tiles(thread, count, &span, &queries, scores, step->scores_stride);
        else attend_any(count, &span, &queries, scores, step->scores_stride);
    }
}

/* All tokens of a step, or the `chosen` ones, which ascend from row to row, more than once if need be. */
static Part part_of(const Model *model, const Step *step, int num_tokens, const int64_t *chosen, Tile *tiles,
                    float *residual) {
    const int most = tokens_at_once(model->num_heads / model->num_kv_heads);
    Tile *latest = NULL;
    int count = 0, row = 0;
    for (int to = 0; to < num_tokens; to++) {
        const int token = chosen ? (int)chosen[to] : to;
        if (token < step->cu_seqlens[row]) row = 0;
        while (token >= step->cu_seqlens[row + 1]) row++;
        if (latest && latest->row == row && latest->count < most && token == latest->begin + latest->count) {
            latest->count++;
        } else {
            latest = tiles + count++;
            *latest = (Tile){row, token, 1, to};
        }
    }
    return (Part){num_tokens, count, tiles, residual};
}

/* Whether a product with such weights reads float activations unconverted. */
INLINE int reads_floats(Format format) { return format == PLAIN && PER_LANE == 1; }

/* Convert rows of `width` activations to what a product with this matrix reads. */
INLINE Operand convert(Thread *thread, const Step *step, const Format format, const Matrix *m, const float *x,
                       int num_rows, int width) {
    if (reads_floats(format)) return (Operand){(const char *)x, (int64_t)width * 4};
    const int64_t stride = operand_bytes(format, m->inputs);
    SHARED_FOR(thread, t, num_rows, 4)
        convert_row(format, step->operand + t * stride, x + (int64_t)t * width, width, m->inputs);
    return (Operand){step->operand, stride};
}

/* The same for rows of the residual stream, which are normalised first. */
INLINE Operand norm(Thread *thread, const Model *model, const Step *step, const Format format, const Matrix *m,
                    const float *residual, int num_rows, const float *weight) {
    const int64_t hidden = model->hidden, stride = operand_bytes(format, m->inputs);
    SHARED_FOR(thread, t, num_rows, 4) {
        float *normed = step->normed + t * hidden;
        rms_norm(normed, residual + t * hidden, weight, model->hidden, model->epsilon);
        if (!reads_floats(format)) convert_row(format, step->operand + t * stride, normed, model->hidden, m->inputs);
    }
    return (Operand){reads_floats(format) ? (const char *)step->normed : step->operand, stride};
}

/* Keys and values are computed for all tokens, everything after them for a part of the tokens. */
static void run_layer(Thread *thread, const Work *work, const Layer *layer, const Part *part) {
    const Model *model = work->model;
    const Step *step = &work->step;
    const int hidden = model->hidden, kv_heads = model->num_kv_heads, tokens = part->num_tokens;
    Operand a = norm(thread, model, step, BODY, &layer->qkv, step->residual, step->num_tokens, layer->input_norm);
    multiply(thread, BODY, a, step->num_tokens, &layer->qkv, step->qkv, layer->qkv.columns, STORE);
    SHARED_FOR(thread, i, step->num_tokens * kv_heads, 4) place(model, layer, step, i / kv_heads, i % kv_heads);
    SHARED_FOR(thread, i, part->num_tiles * kv_heads, 1)
        attend_tile(thread, model, layer, step, part->tiles + i / kv_heads, i % kv_heads);
    a = convert(thread, step, BODY, &layer->output, step->attended, tokens, model->num_heads * model->head_size);
    multiply(thread, BODY, a, tokens, &layer->output, part->residual, hidden, ADD);
    a = norm(thread, model, step, BODY, &layer->gate_up, part->residual, tokens, layer->post_norm);
    multiply(thread, BODY, a, tokens, &layer->gate_up, step->activated, model->intermediate, GATE);
    a = convert(thread, step, BODY, &layer->down, step->activated, tokens, model->intermediate);
    multiply(thread, BODY, a, tokens, &layer->down, part->residual, hidden, ADD);
}

static void embed(const Model *model, int64_t token_id, float *to) {
    if (!model->embedding) return read_column(HEAD, &model->head, token_id, to, model->hidden);
    for (int i = 0; i < model->hidden; i++) to[i] = value_of(model->embedding[token_id * model->hidden + i]);
}

enum { LOOPS_PER_LAYER = 10, LOOPS_AROUND = 4 };

static void run_model(Thread *thread, const Work *work) {
    const Model *model = work->model;
    const Step *step = &work->step;
    SHARED_FOR(thread, t, step->num_tokens, 4)
        embed(model, step->input_ids[t], step->residual + (int64_t)t * model->hidden);
    const Layer *last = model->layers + model->num_layers - 1;
    for (const Layer *layer = model->layers; layer < last; layer++) run_layer(thread, work, layer, &work->all);
    const size_t row = model->hidden;
    SHARED_FOR(thread, i, step->num_logits, 4)
        memcpy(step->wanted + i * row, step->residual + step->logits_indices[i] * row, row * sizeof(float));
    run_layer(thread, work, last, &work->wanted);
    const Operand a = norm(thread, model, step, HEAD, &model->head, step->wanted, step->num_logits, model->final_norm);
    multiply(thread, HEAD, a, step->num_logits, &model->head, step->logits, model->head.columns, STORE);
    release_tiles(thread);
}

static void sample_all(Thread *thread, const Work *work) {
    const Sampling *sampling = &work->sampling;
    float *weights = sampling->weights + (int64_t)thread->index * 2 * sampling->room;
    SHARED_FOR(thread, row, sampling->num_rows, 1) sampling->token_ids[row] = sample_token(sampling, row, weights);
}

static void take_part(Team *team, int thread_index, unsigned pass, const Work *work) {
    Thread thread = {.team = team, .index = thread_index, .pass = pass};
    work->routine(&thread, work);
}

typedef struct {
    Decoder *decoder;
    int index;
} Start;

/* A thread beside the caller's: waits for a pass to begin, takes part in it, forever. */
static void *assist(void *argument) {
    const Start start = *(Start *)argument;
    free(argument);
    Team *team = &start.decoder->team;
    for (unsigned seen = 0;;) {
        for (int spins = 0; spins < 2000 && atomic_load(&team->pass) == seen; spins++) pause_briefly(spins);
        pthread_mutex_lock(&team->mutex);
        while (atomic_load(&team->pass) == seen) pthread_cond_wait(&team->begun, &team->mutex);
        seen = atomic_load(&team->pass);
        const Work work = start.decoder->work;
        pthread_mutex_unlock(&team->mutex);
        take_part(team, start.index, seen, &work);
    }
    return NULL;
}

/* The decoder and its threads live as long as the process. Returns NULL where memory or threads cannot be had.
 * It has its own copy of the layers, which a late thread still looks at when the caller has gone on. */
Decoder *create(const Model *model) {
    Decoder *decoder = calloc(1, sizeof *decoder);
    Layer *layers = calloc(model->num_layers, sizeof *layers);
    if (!decoder || !layers) return NULL;
    decoder->model = *model;
    decoder->model.layers = memcpy(layers, model->layers, model->num_layers * sizeof *layers);
    Team *team = &decoder->team;
    team->num_threads = model->num_threads;
    team->num_loops = model->num_layers * LOOPS_PER_LAYER + LOOPS_AROUND;
    team->loops = aligned_alloc(64, team->num_loops * sizeof(Loop));
    if (!team->loops) return NULL;
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->begun, NULL);
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

/* One pass over this work. The caller's thread is one of the decoder's, and returns when the last loop is done. Loops
 * count for the new pass before it begins: a thread that is late in the one before finds nothing left of them. */
static void run_pass(Decoder *decoder, const Work *work) {
    Team *team = &decoder->team;
    const unsigned pass = atomic_load(&team->pass) + 1;
    for (int i = 0; i < team->num_loops; i++) {
        atomic_store(&team->loops[i].done, 0);
        atomic_store(&team->loops[i].next, (uint_least64_t)pass << 32);
    }
    pthread_mutex_lock(&team->mutex);
    decoder->work = *work;
    atomic_store(&team->pass, pass);
    pthread_cond_broadcast(&team->begun);
    pthread_mutex_unlock(&team->mutex);
    take_part(team, 0, pass, work);
}

/* The logits of one step. */
void forward(Decoder *decoder, const Step *step) {
    const Model *model = &decoder->model;
    Work work = {.routine = run_model, .model = model, .step = *step};
    work.all = part_of(model, step, step->num_tokens, NULL, step->tiles, step->residual);
    Tile *rest = step->tiles + work.all.num_tiles;
    work.wanted = part_of(model, step, step->num_logits, step->logits_indices, rest, step->wanted);
    run_pass(decoder, &work);
}

/* Tokens of logits. */
void sample_tokens(Decoder *decoder, const Sampling *sampling) {
    run_pass(decoder, &(const Work){.routine = sample_all, .sampling = *sampling});
}

/* Bytes that a matrix takes, a head or one of a layer's. */
int64_t packed_bytes(const Matrix *m, int is_head) {
    return m->columns / PANEL * panel_bytes(is_head ? HEAD : BODY, m->inputs);
}

/* Inputs of a matrix that has room for so many. */
int packed_inputs(int inputs, int is_head) { return whole_inputs(is_head ? HEAD : BODY, inputs); }

/* Fill a matrix that has its memory from `[outputs][inputs]` weights. */
void pack(const Matrix *m, const element *weights, int outputs, int inputs, int is_head) {
    if (is_head) pack_matrix(HEAD, m, weights, outputs, inputs);
    else pack_matrix(BODY, m, weights, outputs, inputs);
}

/* Bytes of one row for a product with this matrix. */
int64_t operand_row_bytes(const Matrix *m, int is_head) { return operand_bytes(is_head ? HEAD : BODY, m->inputs); }
