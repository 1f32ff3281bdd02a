/* The same attention by AMX, of up to 32 queries, over a cache of bfloat16 numbers: keys and values lie there just as
 * tiles are read. A query's numbers depend neither on those beside it nor on how much lies behind its last key, since
 * that is multiplied by zeros. They differ from those of vectors, which add in another order: so the head's size alone
 * decides.
 */
#ifdef TILE_BYTES
#define TILE_DIMS 32
#define MAX_HEAD_SIZE 256
#define UNIT_WORDS (LANES / 2) /* pairs of tokens */

INLINE int attends_on_tiles(int head_size) {
    return PER_LANE == 2 && head_size % TILE_DIMS == 0 && head_size <= MAX_HEAD_SIZE;
}

/* Every score, visible or not, in rows of whole pairs of units. */
INLINE void score_on_tiles(const int two, const Span *span, const char *queries, float *scores, int64_t stride) {
    for (int64_t unit = span->first; unit < span->last; unit += 2) {
        const int64_t other = unit + 1 < span->last ? unit + 1 : unit, after = unit + 2 < span->last ? unit + 2 : unit;
        const char *keys = (const char *)(span->keys + unit_base(span, unit));
        const char *keys_of_other = (const char *)(span->keys + unit_base(span, other));
        const char *next = (const char *)(span->keys + unit_base(span, after));
        const char *next_of_other = later(span, span->keys, after + 1);
        clear_tiles(two);
        for (int d = 0; d < span->head_size; d += TILE_DIMS) {
            if (!two)
                for (int line = 0; line < TILE_ROWS; line++) {
                    __builtin_prefetch(next + d * 32 + line * 64);
                    __builtin_prefetch(next_of_other + d * 32 + line * 64);
                }
            MULTIPLY_TILES(_tile_dpbf16ps, two, queries + d * 2, span->head_size * 2, keys + d * 32,
                           keys_of_other + d * 32, 64);
        }
        store_tiles(two, (char *)(scores + (unit - span->first) * LANES), stride * 4);
    }
}

/* -infinity for what the query at this position does not see; returns its largest score. */
INLINE float hide(const Span *span, float *scores, int64_t position) {
    const int64_t origin = span->first * LANES, count = (span->last - span->first) * LANES;
    for (int64_t i = position + 1 - origin; i < count; i++) scores[i] = -INFINITY;
    if (span->window)
        for (int64_t i = 0; i <= position - span->window - origin; i++) scores[i] = -INFINITY;
    vec most = (vec){} - INFINITY;
    for (int64_t i = 0; i < count; i += LANES) {
        const vec score = *(const vec *)(scores + i);
        most = larger(most, score);
    }
    return reduce_max(most);
}

/* The values of a unit. Behind the last token may stand anything, even what is not a number: of the last unit a copy is
 * read that has zeros there. */
INLINE const char *whole_unit(const Span *span, int64_t unit, element *copy) {
    const element *values = span->values + unit_base(span, unit);
    const int64_t left = span->end - unit * LANES, row = 2 * span->head_size;
    if (left >= LANES) return (const char *)values;
    memcpy(copy, values, (left + 1) / 2 * row * sizeof(element));
    if (left % 2)
        for (int d = 0; d < span->head_size; d++) copy[left / 2 * row + 2 * d + 1] = 0;
    memset(copy + (left + 1) / 2 * row, 0, (UNIT_WORDS - (left + 1) / 2) * row * sizeof(element));
    return (const char *)copy;
}

/* 32 dimensions of up to 32 queries, from dimension `d` on; or 64 of up to 16: values are then read in fewer turns. */
INLINE void weigh_on_tiles(const int two, const int wide, int d, const Span *span, const float *weights, int64_t stride,
                           element *last, char *sums) {
    const int64_t row = span->head_size * 4;
    clear_tiles(two || wide);
    for (int64_t unit = span->first; unit < span->last; unit++) {
        const char *values = whole_unit(span, unit, last) + d * 4;
        const char *weight = (const char *)weights + (unit - span->first) * LANES * 2;
        if (!two) {
            const char *next = later(span, span->values, unit + 1) + d * 4;
            for (int pair = 0; pair < UNIT_WORDS; pair++)
                for (int line = 0; line < (wide ? 4 : 2); line++) __builtin_prefetch(next + pair * row + line * 64);
        }
        MULTIPLY_TILES(_tile_dpbf16ps, two, weight, stride * 4, values, values + TILE_BYTES, row);
        if (wide) {
            _tile_loadd(6, values + 2 * TILE_BYTES, row);
            _tile_dpbf16ps(2, 4, 6);
            _tile_loadd(7, values + 3 * TILE_BYTES, row);
            _tile_dpbf16ps(3, 4, 7);
        }
    }
    store_tiles(two || wide, sums, PANEL * 4);
}

INLINE void attend_by(Thread *thread, const int two, int count, const Span *span, const Queries *queries, float *scores,
                      int64_t stride) {
    const int size = span->head_size, first = two ? TILE_ROWS : count;
    _Alignas(64) element packed[AMX_ROWS * MAX_HEAD_SIZE], last[LANES * MAX_HEAD_SIZE];
    _Alignas(64) vec sums[AMX_ROWS][2];
    float total[AMX_ROWS];
    for (int q = 0; q < count; q++) memcpy(packed + q * size, queries->query[q], size * sizeof(element));
    finish_stores();
    shape_tiles(thread, first, count - first, TILE_ROWS);
    score_on_tiles(two, span, (const char *)packed, scores, stride);
    for (int q = 0; q < count; q++) {
        float *row = scores + q * stride;
        total[q] = exponentiate(row, (span->last - span->first) * LANES, hide(span, row, queries->position[q]));
    }
    finish_stores();
    shape_tiles(thread, first, two ? count - first : count, UNIT_WORDS);
    for (int d = 0; d < size; d += two ? TILE_DIMS : 2 * TILE_DIMS) {
        const int wide = !two && d + TILE_DIMS < size;
        if (wide) weigh_on_tiles(two, 1, d, span, scores, stride, last, (char *)sums);
        else weigh_on_tiles(two, 0, d, span, scores, stride, last, (char *)sums);
        for (int half = 0; half <= wide; half++)
            for (int q = 0; q < count; q++) {
                vec *out = (vec *)(queries->out[q] + d + half * TILE_DIMS);
                for (int w = 0; w < 2; w++) out[w] = sums[half * TILE_ROWS + q][w] / total[q];
            }
    }
}

static void attend_on_tiles(Thread *thread, int count, const Span *span, const Queries *queries, float *scores,
                            int64_t stride) {
    if (count > TILE_ROWS) attend_by(thread, 1, count, span, queries, scores, stride);
    else attend_by(thread, 0, count, span, queries, scores, stride);
}
#else
INLINE int attends_on_tiles(int head_size) { return 0; }
static void attend_on_tiles(Thread *thread, int count, const Span *span, const Queries *queries, float *scores,
                            int64_t stride) {}
#endif

INLINE int queries_at_once(int head_size) { return attends_on_tiles(head_size) ? MAX_QUERIES : TILE_QUERIES; }

/* How many tokens of a row are attended together, of which each has `group` queries that share their keys. */
INLINE int tokens_at_once(int group) { return group < MAX_QUERIES ? MAX_QUERIES / group : 1; }
