/* Attention over the paged cache, each key and value read once and in place.
 *
 * A unit is 16 neighbouring tokens of a block; in lanes:
 *   keys     [slots / 16][kv_heads][head_size / PER_LANE][16]: one vector is a lane's dimensions of 16 tokens
 *   values   [slots / 16][kv_heads][16 / PER_LANE][head_size]: one vector is a lane's tokens in 16 dimensions
 * Queries are lanes of their dimensions, and softmax weights lanes of their tokens, so that both halves of attention
 * are the same product.
 */
#define TILE_QUERIES 8
#define UNITS_AHEAD 2 /* are fetched: vectors are done with one in less time than memory takes */
#define MAX_QUERIES 32 /* by AMX at once; otherwise in turn, over keys that stay in the second cache */

typedef struct {
    element *keys, *values;
    const int32_t *table; /* of the row the queries belong to */
    int64_t first, last, end; /* units to look at, and the first position that nobody sees */
    int block_size, num_kv_heads, kv_head, head_size;
    int32_t window; /* 0: every token sees all before it */
} Span;

typedef struct {
    const char *query[MAX_QUERIES];
    float *out[MAX_QUERIES];
    int64_t position[MAX_QUERIES];
} Queries;

/* Where the keys, and the values, of a unit begin. */
INLINE int64_t unit_base(const Span *span, int64_t unit) {
    const int per_block = span->block_size / LANES;
    const int64_t place = (int64_t)span->table[unit / per_block] * per_block + unit % per_block;
    return (place * span->num_kv_heads + span->kv_head) * LANES * span->head_size;
}

/* A unit that will be read, or the last one: it lies elsewhere in memory, where no hardware prefetcher looks. */
INLINE const char *later(const Span *span, const element *cache, int64_t unit) {
    return (const char *)(cache + unit_base(span, unit < span->last ? unit : span->last - 1));
}

/* The keys of a unit, or behind the last of them the values that are read then. */
INLINE const char *later_key(const Span *span, int64_t unit) {
    if (unit < span->last) return later(span, span->keys, unit);
    return later(span, span->values, unit - span->last + span->first);
}

/* Scores of the queries against the keys of `width` units, -infinity for those they do not see. */
INLINE void score_units(const int count, const int width, const Span *span, int64_t unit, const Queries *queries,
                        float *scores, int64_t stride, vec *most) {
    const ivec lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const char *keys[2], *next[2];
    vec sums[TILE_QUERIES][2];
    for (int u = 0; u < width; u++) {
        keys[u] = (const char *)(span->keys + unit_base(span, unit + u));
        next[u] = later_key(span, unit + u + width - 1 + UNITS_AHEAD);
        for (int q = 0; q < count; q++) sums[q][u] = (vec){};
    }
    for (int64_t d = 0; d < span->head_size / PER_LANE; d++) {
        lanes key[2];
        for (int u = 0; u < width; u++) {
            __builtin_prefetch(next[u] + d * 64);
            key[u] = load(keys[u] + d * 64);
        }
        for (int q = 0; q < count; q++) {
            const lanes x = spread(queries->query[q] + d * 4);
            for (int u = 0; u < width; u++) sums[q][u] = dot(sums[q][u], key[u], x);
        }
    }
    for (int u = 0; u < width; u++)
        for (int q = 0; q < count; q++) {
            const int end = (int)(queries->position[q] + 1 - (unit + u) * LANES);
            const int begin = span->window ? end - span->window : 0;
            if (begin > 0 || end < LANES)
                sums[q][u] = blend((lane >= begin) & (lane < end), sums[q][u], (vec){} - INFINITY);
            *(vec *)(scores + q * stride + (unit + u - span->first) * LANES) = sums[q][u];
            most[q] = larger(most[q], sums[q][u]);
        }
}

/* Scores against all keys; returns each query's largest. Many queries take two units at once: each number that is
 * spread over a vector then serves twice. */
INLINE void score(const int count, const Span *span, const Queries *queries, float *scores, int64_t stride,
                  float *largest) {
    vec most[TILE_QUERIES];
    for (int q = 0; q < count; q++) most[q] = (vec){} - INFINITY;
    int64_t unit = span->first;
    if (count > 4)
        for (; unit + 1 < span->last; unit += 2) score_units(count, 2, span, unit, queries, scores, stride, most);
    for (; unit < span->last; unit++) score_units(count, 1, span, unit, queries, scores, stride, most);
    for (int q = 0; q < count; q++) largest[q] = reduce_max(most[q]);
}

/* Scores, as powers of two, become unnormalised weights, in lanes from the same address on; returns their sum. */
INLINE float exponentiate(float *scores, int64_t count, float largest) {
    vec total = {};
    for (int64_t i = 0; i < count; i += LANES) {
        const vec weight = exp2_vec(*(const vec *)(scores + i) - largest);
        store_elements((element *)scores + i, weight);
        total += weight;
    }
    return reduce_add(total);
}

/* The sums grow by `width` vectors of the values of one lane's tokens, weighted; `mask` hides tokens of the lane. */
INLINE void add_weighted(const int count, const int width, const char *values, uint32_t mask, const char *weight,
                         int64_t stride, vec (*sums)[4]) {
    lanes value[4];
    for (int w = 0; w < width; w++) value[w] = load(values + w * 64) & mask;
    for (int q = 0; q < count; q++) {
        const lanes x = spread(weight + q * stride * 4);
        for (int w = 0; w < width; w++) sums[q][w] = dot(sums[q][w], value[w], x);
    }
}

/* `width` vectors of the output, from dimension `d` on: the values weighted and divided by the weights' total. What
 * lies behind the last token may be anything, even not a number: it is not touched. */
INLINE void weigh(const int count, const int width, int d, const Span *span, const Queries *queries,
                  const float *weights, int64_t stride, const float *total) {
    vec sums[TILE_QUERIES][4];
    for (int q = 0; q < count; q++)
        for (int w = 0; w < width; w++) sums[q][w] = (vec){};
    const int64_t row = span->head_size * 4;
    const char *weight = (const char *)weights;
    for (int64_t unit = span->first; unit < span->last; unit++) {
        const char *values = (const char *)(span->values + unit_base(span, unit)) + d * 4;
        const char *next = later(span, span->values, unit + UNITS_AHEAD) + d * 4;
        const int64_t left = span->end - unit * LANES;
        if (left >= LANES) {
            for (int i = 0; i < LANES / PER_LANE; i++, values += row, next += row, weight += 4) {
                for (int w = 0; w < width; w++) __builtin_prefetch(next + w * 64);
                add_weighted(count, width, values, ~0u, weight, stride, sums);
            }
            continue;
        }
        for (int i = 0; i < left / PER_LANE; i++, values += row, weight += 4)
            add_weighted(count, width, values, ~0u, weight, stride, sums);
        if (left % PER_LANE) add_weighted(count, width, values, 0xFFFF, weight, stride, sums);
    }
    for (int q = 0; q < count; q++)
        for (int w = 0; w < width; w++) *(vec *)(queries->out[q] + d + w * LANES) = sums[q][w] / total[q];
}

/* Exact attention of a few queries that share their keys. `scores` has room for `stride` numbers a query. */
INLINE void attend(const int count, const Span *span, const Queries *queries, float *scores, int64_t stride) {
    float largest[TILE_QUERIES], total[TILE_QUERIES];
    score(count, span, queries, scores, stride, largest);
    for (int q = 0; q < count; q++)
        total[q] = exponentiate(scores + q * stride, (span->last - span->first) * LANES, largest[q]);
    const int width = count > 4 ? 2 : 4; /* accumulators: count times width, of 32 registers */
    int d = 0;
    for (; d + width * LANES <= span->head_size; d += width * LANES)
        weigh(count, width, d, span, queries, scores, stride, total);
    for (; d < span->head_size; d += LANES) weigh(count, 1, d, span, queries, scores, stride, total);
}

static void attend_any(int count, const Span *span, const Queries *queries, float *scores, int64_t stride) {
    if (count == 1) attend(1, span, queries, scores, stride);
    else if (count == 2) attend(2, span, queries, scores, stride);
    else if (count <= 4) attend(4, span, queries, scores, stride);
    else attend(8, span, queries, scores, stride);
}
