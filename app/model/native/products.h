/* Products of rows of activations with the panels of a matrix, by all threads. */
#define MAX_ROWS 8           /* 16 accumulators are as many as two units need to be always busy */
#define MAX_QUANTIZED_ROWS 6 /* which need as many again for the integers of a block */
#define MAX_PANELS 4          /* panels that few rows meet at once, each a stream of weights of its own */
#define FETCHED_AHEAD 4096    /* bytes, where a chunk's weights are a single stream */

/* Weights that will be wanted, fetched `step` bytes further with each pair of vectors of those being multiplied. */
typedef struct {
    const char *at;
    int64_t step;
} Ahead;

/* Panels side by side are streams of their own. One row of larger weights is no faster than hardware reads ahead. */
INLINE void fetch_soon(const Format format, const int rows, const char *w) {
    if (rows == 1 && format != INT4) return;
    __builtin_prefetch(w + 2048);
    __builtin_prefetch(w + 2112);
}

INLINE void fetch(Ahead *ahead) {
    __builtin_prefetch(ahead->at);
    __builtin_prefetch(ahead->at + 64);
    ahead->at += ahead->step;
}

/* Products of `rows` rows with `width` panels side by side, both constants wherever this is inlined. */
INLINE void plain_tile(const int rows, const int width, Operand a, const Matrix *m, const char *w, Ahead ahead,
                       Sums *sums) {
    const int64_t panel = panel_bytes(PLAIN, m->inputs);
    vec acc[MAX_PANELS][MAX_ROWS][2];
    for (int p = 0; p < width; p++)
        for (int r = 0; r < rows; r++) acc[p][r][0] = acc[p][r][1] = (vec){};
    for (int64_t k = 0; k < m->inputs / PER_LANE; k++, w += PANEL * 4) {
        if (width == 1) fetch(&ahead);
        for (int p = 0; p < width; p++) {
            if (width > 1) fetch_soon(PLAIN, rows, w + p * panel);
            const lanes w0 = load(w + p * panel), w1 = load(w + p * panel + 64);
            for (int r = 0; r < rows; r++) {
                const lanes x = spread(a.rows + r * a.stride + k * 4);
                acc[p][r][0] = dot(acc[p][r][0], w0, x);
                acc[p][r][1] = dot(acc[p][r][1], w1, x);
            }
        }
    }
    for (int p = 0; p < width; p++)
        for (int r = 0; r < rows; r++) sums[p][r][0] = acc[p][r][0], sums[p][r][1] = acc[p][r][1];
}

/* The sums of a pair of vectors of quantised weights and one row, whose activations for them begin at `x`. */
INLINE void add_pair(const Format format, ivec *sum, lanes w0, lanes w1, const char *x) {
    const lanes first = spread(x);
    if (format == INT8) {
        sum[0] = dot_bytes(sum[0], w0 ^ 0x80808080u, first);
        sum[1] = dot_bytes(sum[1], w1 ^ 0x80808080u, first);
        return;
    }
    const lanes second = spread(x + 4);
    sum[0] = dot_bytes(sum[0], w0 & 0x0F0F0F0Fu, first);
    sum[1] = dot_bytes(sum[1], w1 & 0x0F0F0F0Fu, first);
    sum[0] = dot_bytes(sum[0], (w0 >> 4) & 0x0F0F0F0Fu, second);
    sum[1] = dot_bytes(sum[1], (w1 >> 4) & 0x0F0F0F0Fu, second);
}

INLINE void quantized_tile(const Format format, const int rows, const int width, Operand a, const Matrix *m,
                           const char *w, Ahead ahead, Sums *sums) {
    const int size = block_inputs(format), num_blocks = m->inputs / size, step = pair_inputs(format);
    const int64_t panel = panel_bytes(format, m->inputs);
    const char *scales = a.rows + m->inputs, *corrections = scales + num_blocks * 4;
    vec acc[MAX_PANELS][MAX_QUANTIZED_ROWS][2];
    for (int p = 0; p < width; p++)
        for (int r = 0; r < rows; r++) acc[p][r][0] = acc[p][r][1] = (vec){};
    for (int64_t b = 0; b < num_blocks; b++) {
        const char *w_scales = w;
        w += PANEL * 2;
        ivec sum[MAX_PANELS][MAX_QUANTIZED_ROWS][2];
        for (int p = 0; p < width; p++)
            for (int r = 0; r < rows; r++) sum[p][r][0] = sum[p][r][1] = (ivec)spread(corrections + r * a.stride + b * 4);
        for (int i = 0; i < size; i += step, w += PANEL * 4) {
            if (width == 1) fetch(&ahead);
            for (int p = 0; p < width; p++) {
                if (width > 1) fetch_soon(format, rows, w + p * panel);
                const lanes w0 = load(w + p * panel), w1 = load(w + p * panel + 64);
                for (int r = 0; r < rows; r++) add_pair(format, sum[p][r], w0, w1, a.rows + r * a.stride + b * size + i);
            }
        }
        for (int p = 0; p < width; p++) {
            const vec w_scale0 = widen(*(const halves *)(w_scales + p * panel));
            const vec w_scale1 = widen(*(const halves *)(w_scales + p * panel + 32));
            for (int r = 0; r < rows; r++) {
                const vec scale = (vec)spread(scales + r * a.stride + b * 4);
                acc[p][r][0] = add_scaled(acc[p][r][0], sum[p][r][0], scale, w_scale0);
                acc[p][r][1] = add_scaled(acc[p][r][1], sum[p][r][1], scale, w_scale1);
            }
        }
    }
    for (int p = 0; p < width; p++)
        for (int r = 0; r < rows; r++) sums[p][r][0] = acc[p][r][0], sums[p][r][1] = acc[p][r][1];
}

INLINE void any_tile(const Format format, int rows, int width, Operand a, const Matrix *m, const char *w, Ahead ahead,
                     Sums *sums) {
    if (on_tiles(format, rows)) return multiply_on_tiles(format, rows, a, m, w, *sums);
#define CASE(rows, width)                                                     \
    case rows * MAX_PANELS + width:                                           \
        if (format == PLAIN) plain_tile(rows, width, a, m, w, ahead, sums);   \
        else quantized_tile(format, rows, width, a, m, w, ahead, sums);       \
        break
#define PLAIN_CASE(rows)                                                      \
    case rows * MAX_PANELS + 1:                                               \
        if (format == PLAIN) plain_tile(rows, 1, a, m, w, ahead, sums);       \
        break
    switch (rows * MAX_PANELS + width) {
        CASE(1, MAX_PANELS); CASE(2, MAX_PANELS); CASE(3, MAX_PANELS); CASE(4, MAX_PANELS);
        CASE(1, 1); CASE(2, 1); CASE(3, 1); CASE(4, 1); CASE(5, 1); CASE(6, 1);
        PLAIN_CASE(7); PLAIN_CASE(8);
    }
#undef CASE
#undef PLAIN_CASE
}

/* Compiled once for each format there is: they are most of the code. */
static __attribute__((noinline)) void body_tile(int rows, int width, Operand a, const Matrix *m, const char *w,
                                                Ahead ahead, Sums *sums) {
    any_tile(BODY, rows, width, a, m, w, ahead, sums);
}
static __attribute__((noinline)) void head_tile(int rows, int width, Operand a, const Matrix *m, const char *w,
                                                Ahead ahead, Sums *sums) {
    any_tile(HEAD, rows, width, a, m, w, ahead, sums);
}

typedef enum { STORE, ADD, GATE } Epilogue;

static void finish_tile(int rows, const Matrix *m, int panel, const Sums sums, float *out, int64_t out_stride,
                        Epilogue epilogue) {
    for (int r = 0; r < rows; r++, out += out_stride) {
        vec low = sums[r][0], high = sums[r][1];
        if (m->bias) {
            low += *(const vec *)(m->bias + panel * PANEL);
            high += *(const vec *)(m->bias + panel * PANEL + LANES);
        }
        vec *to = (vec *)(out + panel * PANEL);
        if (epilogue == GATE) /* gate and up alternate by 16 columns, so that a panel holds both */
            *(vec *)(out + panel * LANES) = low / (1.0f + exp2_vec(low * -LOG2_E)) * high;
        else if (epilogue == ADD)
            to[0] += low, to[1] += high;
        else
            to[0] = low, to[1] = high;
    }
}

/* How many panels a few rows meet side by side, where there are enough for all threads. Memory gives a thread more from
 * four streams, which hardware reads ahead, as long as the core looks far ahead itself: with more rows or smaller weights
 * its instructions cover too few bytes, and one stream that they fetch is faster. Narrow vectors, whose sums do not fit
 * the registers, would wait for those of a single panel. */
INLINE int panels_side_by_side(const Format format, const Thread *thread, const Matrix *m, int num_rows) {
#ifdef __AVX512F__
    const int few = num_rows == 1 && format != INT4;
#else
    const int few = num_rows <= 4;
#endif
    const int enough = m->columns / PANEL >= 4 * MAX_PANELS * thread->team->num_threads;
    return few && enough && !on_tiles(format, num_rows) ? MAX_PANELS : 1;
}

/* How many panels a thread takes at once: enough that taking costs nothing beside the work and that a stream is worth
 * beginning, few enough that all have some. With many tiles of rows a tile's activations stay in the first cache while
 * the panels pass by, and those in the second until the next tile comes, beside the ones that are fetched meanwhile. */
INLINE int panels_at_once(const Format format, const Thread *thread, const Matrix *m, int num_tiles, int width) {
    const int64_t bytes = num_tiles > 8 ? 256 << 10 : num_tiles > 1 ? 48 << 10 : 192 << 10;
    const int64_t wanted = bytes / panel_bytes(format, m->inputs) / width * width;
    const int64_t fair = m->columns / PANEL / (8 * thread->team->num_threads);
    const int64_t least = wanted < fair ? wanted : fair;
    return least > width ? (int)least : width;
}

/* A single tile fetches what it will read itself. Several fetch, in equal shares, the weights that their thread takes
 * next if all threads keep step: memory is read all the time, not only when a panel meets its first tile. */
INLINE Ahead share_ahead(const Format format, const Thread *thread, const Matrix *m, int first, int chunk, int share,
                         int num_tiles) {
    const int64_t size = panel_bytes(format, m->inputs);
    if (num_tiles == 1) return (Ahead){m->data + (first + share) * size + FETCHED_AHEAD, PANEL * 4};
    const int next = first + chunk * thread->team->num_threads;
    if (next >= m->columns / PANEL) return (Ahead){m->data + first * size, 0};
    return (Ahead){m->data + next * size + share * size / num_tiles,
                   size / (m->inputs / pair_inputs(format) * num_tiles)};
}

/* out = a x m, by all threads, in tiles of equal height. */
INLINE void multiply(Thread *thread, const Format format, Operand a, int num_rows, const Matrix *m, float *out,
                     int64_t out_stride, const Epilogue epilogue) {
    const int most = on_tiles(format, num_rows) ? AMX_ROWS : format == PLAIN ? MAX_ROWS : MAX_QUANTIZED_ROWS;
    const int num_tiles = (num_rows + most - 1) / most;
    const int widest = panels_side_by_side(format, thread, m, num_rows);
    const int chunk = panels_at_once(format, thread, m, num_tiles, widest);
    for (int first, last; take(thread, m->columns / PANEL, chunk, &first, &last);)
        for (int t = 0; t < num_tiles; t++) {
            const int begin = (int)((int64_t)num_rows * t / num_tiles);
            const int rows = (int)((int64_t)num_rows * (t + 1) / num_tiles) - begin;
            const Operand from = {a.rows + begin * a.stride, a.stride};
            if (on_tiles(format, rows)) shape_product(thread, format, rows);
            for (int panel = first, width; panel < last; panel += width) {
                width = panel + widest <= last ? widest : 1;
                Sums sums[MAX_PANELS];
                const char *w = m->data + panel * panel_bytes(format, m->inputs);
                const int share = t * chunk + panel - first;
                const Ahead ahead = share_ahead(format, thread, m, first, chunk, share, num_tiles);
                if (format == BODY) body_tile(rows, width, from, m, w, ahead, sums);
                else head_tile(rows, width, from, m, w, ahead, sums);
                for (int p = 0; p < width; p++)
                    finish_tile(rows, m, panel + p, sums[p], out + begin * out_stride, out_stride, epilogue);
            }
        }
}
