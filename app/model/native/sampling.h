/* From logits to tokens: the most likely one, or the one at which a uniform number falls in the cumulative distribution
 * of those that may be drawn, in the vocabulary's order.
 *
 * Tokens may be drawn down to an edge: a weight, and how many of the tokens that have it are in, so that `top_k` tokens
 * or the share `top_p` of all weight are kept (the nucleus: Holtzman et al. 2020). Nothing is sorted. Positive floats
 * keep their order when read as integers, so the edge is found bit by bit, by what is above a candidate; once a
 * candidate holds, what is below it is not looked at again.
 */
enum { CHUNK = 512, NO_TOKEN = -1, NO_EDGE = 0 };

/* What decides one row's draw: a row of SamplingColumns (app/model/sampling/columns.py), which says what each is. */
typedef struct {
    float temperature, top_k, top_p, min_p, uniform;
} Draw;
#define DRAW_FIELDS \
    FIELD(Draw, temperature), FIELD(Draw, top_k), FIELD(Draw, top_p), FIELD(Draw, min_p), FIELD(Draw, uniform)

typedef struct {
    int32_t num_rows, vocab_size, stride, room;
    const float *logits; /* [num_rows][stride] */
    const Draw *draws;   /* [num_rows]; NULL where every row takes its most likely token */
    float *weights;      /* [num_threads][2][room]: room for whole chunks, and one vector more */
    int64_t *token_ids;  /* [num_rows]; NO_TOKEN where the largest logit is not finite */
} Sampling;

/* Weights, padded with zeros to whole vectors. */
typedef struct {
    const float *weights;
    int size;
} List;

typedef struct {
    float weight;
    int count;
} Sum;

INLINE int32_t bits_of(float weight) {
    int32_t bits;
    memcpy(&bits, &weight, 4);
    return bits;
}

INLINE float weight_of(int32_t bits) {
    float weight;
    memcpy(&weight, &bits, 4);
    return weight;
}

/* Logits from i on; -INFINITY after the last one. */
INLINE vec logits_at(const float *logits, int i, int size) {
    if (i + LANES <= size) return *(const vec *)(logits + i);
    vec v = (vec){} - INFINITY;
    for (int lane = 0; i + lane < size; lane++) v[lane] = logits[i + lane];
    return v;
}

/* NAN if any of them is. */
static float largest_of(const float *logits, int size) {
    vec largest = (vec){} - INFINITY;
    ivec strange = {};
    for (int i = 0; i < size; i += LANES) {
        const vec v = logits_at(logits, i, size);
        largest = larger(largest, v);
        strange |= v != v;
    }
    return reduce_add_int(strange) ? NAN : reduce_max(largest);
}

static int first_of(const float *logits, int size, float wanted) {
    for (int i = 0; i < size; i += LANES) {
        const ivec found = logits_at(logits, i, size) == wanted;
        if (!reduce_add_int(found)) continue;
        for (int lane = 0; lane < LANES; lane++)
            if (found[lane]) return i + lane;
    }
    return NO_TOKEN;
}

/* Weights relative to the largest logit's, which is 1, up to the last chunk's end. */
static void weigh_all(float *weights, const float *logits, int size, float largest, float temperature) {
    const float scale = LOG2_E / temperature;
    int i = 0;
    for (; i < size; i += LANES) *(vec *)(weights + i) = exp2_vec((logits_at(logits, i, size) - largest) * scale);
    for (; i % CHUNK; i += LANES) *(vec *)(weights + i) = (vec){};
}

static Sum sum_from(const List *list, int32_t edge) {
    vec weight = {};
    ivec count = {};
    for (int i = 0; i < list->size; i += LANES) {
        const vec v = *(const vec *)(list->weights + i);
        const ivec is_in = (ivec)v >= edge;
        weight += (vec)((ivec)v & is_in);
        count -= is_in;
    }
    return (Sum){reduce_add(weight), reduce_add_int(count)};
}

/* Keep the weights at or above the edge, in `to`, which may be the list itself. */
static List keep_from(const List *list, int32_t edge, float *to) {
    int count = 0;
    for (int i = 0; i < list->size; i += LANES) {
        const vec v = *(const vec *)(list->weights + i);
#ifdef __AVX512F__
        const __mmask16 is_in = _mm512_cmpge_epi32_mask((__m512i)v, _mm512_set1_epi32(edge));
        *(vec *)(to + count) = (vec)_mm512_maskz_compress_ps(is_in, (__m512)v);
        count += __builtin_popcount(is_in);
#else
        for (int lane = 0; lane < LANES; lane++) {
            to[count] = v[lane];
            count += bits_of(v[lane]) >= edge;
        }
#endif
    }
    *(vec *)(to + count) = (vec){};
    return (List){to, (count + LANES - 1) / LANES * LANES};
}

/* The highest edge that keeps at least `count` tokens or, if `count` is 0, at least `weight` of all weight. The search
 * begins at `edge`, which must do so. */
static int32_t find_edge(List *list, float *room, int32_t edge, int count, float weight) {
    int32_t most = bits_of(1.0f);
    while (edge < most) {
        const int32_t middle = most - (most - edge) / 2;
        const Sum sum = sum_from(list, middle);
        if (count ? sum.count < count : sum.weight < weight) {
            most = middle - 1;
        } else {
            edge = middle;
            if (sum.count < list->size / 2) *list = keep_from(list, edge, room);
        }
    }
    return edge;
}

/* Set all weights at the edge to 0 except for the first `count`. */
static void keep_first(float *weights, int size, int32_t edge, int count) {
    for (int i = 0; i < size; i++)
        if (bits_of(weights[i]) == edge && count-- <= 0) weights[i] = 0;
}

/* The edge of what may be drawn by `top_k` and `top_p`. Tokens at the edge that are too many get the weight 0. */
static int32_t truncate_to(float *weights, float *room, int size, int top_k, float top_p) {
    List list = {weights, (size + LANES - 1) / LANES * LANES};
    int32_t edge = NO_EDGE;
    Sum above = sum_from(&list, 1); /* all that weighs anything */
    float weight = above.weight;
    int count = size; /* of those at the edge that may be drawn */
    if (top_k < above.count) {
        edge = find_edge(&list, room, edge, top_k, 0);
        above = sum_from(&list, edge + 1);
        count = top_k - above.count;
        weight = above.weight + count * weight_of(edge);
    }
    if (top_p < 1) {
        const int32_t of_top_k = edge;
        const float wanted = top_p * weight;
        edge = find_edge(&list, room, edge, 0, wanted);
        above = sum_from(&list, edge + 1);
        const float missing = wanted - above.weight;
        const float needed = missing > 0 ? ceilf(missing / weight_of(edge)) : 1;
        if (edge > of_top_k || needed < count) count = needed < size ? (int)needed : size;
    }
    if (edge && sum_from(&list, edge).count - above.count > count)
        keep_first(weights, size, edge, count);
    return edge;
}

/* The first token up to which the weights from the edge on reach the share `uniform` of their sum. */
static int draw_from(const float *weights, int size, int32_t edge, double uniform) {
    double total = 0;
    for (int begin = 0; begin < size; begin += CHUNK)
        total += sum_from(&(List){weights + begin, CHUNK}, edge).weight;
    const double target = uniform * total;
    double before = 0;
    int last = NO_TOKEN;
    for (int begin = 0; begin < size; begin += CHUNK) {
        const float weight = sum_from(&(List){weights + begin, CHUNK}, edge).weight;
        if (before + weight > target) {
            double reached = before;
            for (int i = begin; i < begin + CHUNK; i++) {
                if (!weights[i] || bits_of(weights[i]) < edge) continue;
                last = i;
                reached += weights[i];
                if (reached > target) return i;
            }
        }
        before += weight;
    }
    return last; /* rounding: sums in another order may miss the last token by a little */
}

static int sample_token(const Sampling *sampling, int row, float *weights) {
    const int size = sampling->vocab_size;
    const float *logits = sampling->logits + (int64_t)row * sampling->stride;
    const Draw *draw = sampling->draws ? sampling->draws + row : NULL;
    const float largest = largest_of(logits, size);
    if (!isfinite(largest)) return NO_TOKEN;
    if (!draw || draw->temperature == 0) return first_of(logits, size, largest);
    weigh_all(weights, logits, size, largest, draw->temperature);
    int32_t edge = NO_EDGE;
    if (draw->top_k < size || draw->top_p < 1)
        edge = truncate_to(weights, weights + sampling->room, size, (int)draw->top_k, draw->top_p);
    const int32_t floor = bits_of(draw->min_p);
    return draw_from(weights, size, edge > floor ? edge : floor, draw->uniform);
}
