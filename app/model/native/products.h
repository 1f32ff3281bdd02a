/* Products of rows of activations with the panels of a matrix, by all threads. */
#define MOST_ROWS 8           /* 16 accumulators are as many as two units need to be always busy */
#define MOST_QUANTIZED_ROWS 6 /* which need as many again for the integers of a block */

/* Weights that will be wanted, fetched `step` bytes further with each pair of vectors of those being multiplied. */
typedef struct {
    const char *at;
    int64_t step;
} Ahead;

/* With fewer rows there is nothing to be done while memory is waited for, and hardware reads ahead by itself. */
INLINE void fetch(const int rows, Ahead *ahead) {
    if (rows < 4) return;
    __builtin_prefetch(ahead->at);
    __builtin_prefetch(ahead->at + 64);
    ahead->at += ahead->step;
}

/* Products of `rows` rows with one panel. `rows` is a constant wherever this is inlined. */
INLINE void plain_tile(const int rows, Operand a, const Matrix *m, const char *w, Ahead ahead, Sums sums) {
    vec acc[MOST_ROWS][2];
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = (vec){};
    for (int64_t k = 0; k < m->inputs / PER_LANE; k++, w += PANEL * 4) {
        fetch(rows, &ahead);
        const lanes w0 = load(w), w1 = load(w + 64);
        for (int r = 0; r < rows; r++) {
            const lanes x = spread(a.rows + r * a.stride + k * 4);
            acc[r][0] = dot(acc[r][0], w0, x);
            acc[r][1] = dot(acc[r][1], w1, x);
        }
    }
    for (int r = 0; r < rows; r++) sums[r][0] = acc[r][0], sums[r][1] = acc[r][1];
}

INLINE void quantized_tile(const Format format, const int rows, Operand a, const Matrix *m, const char *w, Ahead ahead,
                           Sums sums) {
    const int size = block_inputs(format), num_blocks = m->inputs / size, step = pair_inputs(format);
    const char *scales = a.rows + m->inputs, *corrections = scales + num_blocks * 4;
    vec acc[MOST_QUANTIZED_ROWS][2];
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = (vec){};
    for (int64_t b = 0; b < num_blocks; b++) {
        const vec w_scale0 = widen(*(const halves *)w), w_scale1 = widen(*(const halves *)(w + 32));
        w += PANEL * 2;
        ivec sum[MOST_QUANTIZED_ROWS][2];
        for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = (ivec)spread(corrections + r * a.stride + b * 4);
        for (int i = 0; i < size; i += step, w += PANEL * 4) {
            fetch(rows, &ahead);
            const lanes w0 = load(w), w1 = load(w + 64);
            for (int r = 0; r < rows; r++) {
                const char *x = a.rows + r * a.stride + b * size + i;
                const lanes first = spread(x);
                if (format == INT8) {
                    sum[r][0] = dot_bytes(sum[r][0], w0 ^ 0x80808080u, first);
                    sum[r][1] = dot_bytes(sum[r][1], w1 ^ 0x80808080u, first);
                } else {
                    const lanes second = spread(x + 4);
                    sum[r][0] = dot_bytes(sum[r][0], w0 & 0x0F0F0F0Fu, first);
                    sum[r][1] = dot_bytes(sum[r][1], w1 & 0x0F0F0F0Fu, first);
                    sum[r][0] = dot_bytes(sum[r][0], (w0 >> 4) & 0x0F0F0F0Fu, second);
                    sum[r][1] = dot_bytes(sum[r][1], (w1 >> 4) & 0x0F0F0F0Fu, second);
                }
            }
        }
        for (int r = 0; r < rows; r++) {
            const vec scale = (vec)spread(scales + r * a.stride + b * 4);
            acc[r][0] = add_scaled(acc[r][0], sum[r][0], scale, w_scale0);
            acc[r][1] = add_scaled(acc[r][1], sum[r][1], scale, w_scale1);
        }
    }
    for (int r = 0; r < rows; r++) sums[r][0] = acc[r][0], sums[r][1] = acc[r][1];
}

INLINE void any_tile(const Format format, int rows, Operand a, const Matrix *m, const char *w, Ahead ahead, Sums sums) {
    if (on_tiles(format, rows)) return multiply_on_tiles(format, rows, a, m, w, sums);
    switch (rows) {
#define CASE(n)                                                      \
    case n:                                                          \
        if (format == PLAIN) plain_tile(n, a, m, w, ahead, sums);    \
        else quantized_tile(format, n, a, m, w, ahead, sums);        \
        break
        CASE(1); CASE(2); CASE(3); CASE(4); CASE(5); CASE(6);
#undef CASE
    case 7: if (format == PLAIN) plain_tile(7, a, m, w, ahead, sums); break;
    case 8: if (format == PLAIN) plain_tile(8, a, m, w, ahead, sums); break;
    }
}

/* Compiled once for each format there is: they are most of the code. */
static __attribute__((noinline)) void body_tile(int rows, Operand a, const Matrix *m, const char *w,
                                                Ahead ahead, Sums sums) {
    any_tile(BODY, rows, a, m, w, ahead, sums);
}
static __attribute__((noinline)) void head_tile(int rows, Operand a, const Matrix *m, const char *w,
                                                Ahead ahead, Sums sums) {
    any_tile(HEAD, rows, a, m, w, ahead, sums);
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
            *(vec *)(out + panel * LANES) = low / (1.0f + exp_vec(-low)) * high;
        else if (epilogue == ADD)
            to[0] += low, to[1] += high;
        else
            to[0] = low, to[1] = high;
    }
}

/* How many panels a thread takes at once: enough that taking costs nothing beside the work, few enough that all have
 * some. With many tiles of rows a tile's activations stay in the first cache while the panels pass by, and those in the
 * second until the next tile comes, beside the ones that are fetched meanwhile. */
INLINE int panels_at_once(const Format format, const Thread *thread, const Matrix *m, int num_tiles) {
    const int64_t wanted = (num_tiles > 8 ? 256 << 10 : 48 << 10) / panel_bytes(format, m->inputs);
    const int64_t fair = m->columns / PANEL / (8 * thread->team->num_threads);
    const int64_t least = wanted < fair ? wanted : fair;
    return least > 1 ? (int)least : 1;
}

/* The weights that a thread takes after these if all threads keep step, fetched in equal shares by the products before
 * them: memory is read all the time, not only when a panel meets its first tile. */
INLINE Ahead share_ahead(const Format format, const Thread *thread, const Matrix *m, int first, int chunk, int share,
                         int num_tiles) {
    const int next = first + chunk * thread->team->num_threads;
    const int64_t size = panel_bytes(format, m->inputs);
    if (next >= m->columns / PANEL) return (Ahead){m->data + first * size, 0};
    return (Ahead){m->data + next * size + share * size / num_tiles,
                   size / (m->inputs / pair_inputs(format) * num_tiles)};
}

/* out = a x m, by all threads, in tiles of equal height. */
INLINE void multiply(Thread *thread, const Format format, Operand a, int num_rows, const Matrix *m, float *out,
                     int64_t out_stride, const Epilogue epilogue) {
    const int most = on_tiles(format, num_rows) ? AMX_ROWS : format == PLAIN ? MOST_ROWS : MOST_QUANTIZED_ROWS;
    const int num_tiles = (num_rows + most - 1) / most;
    const int chunk = panels_at_once(format, thread, m, num_tiles);
    for (int first, last; take(thread, m->columns / PANEL, chunk, &first, &last);)
        for (int t = 0; t < num_tiles; t++) {
            const int begin = (int)((int64_t)num_rows * t / num_tiles);
            const int rows = (int)((int64_t)num_rows * (t + 1) / num_tiles) - begin;
            const Operand from = {a.rows + begin * a.stride, a.stride};
            if (on_tiles(format, rows)) shape_product(thread, format, rows);
            for (int panel = first; panel < last; panel++) {
                Sums sums;
                const char *w = m->data + panel * panel_bytes(format, m->inputs);
                const int share = t * chunk + panel - first;
                const Ahead ahead = share_ahead(format, thread, m, first, chunk, share, num_tiles);
                if (format == BODY) body_tile(rows, from, m, w, ahead, sums);
                else head_tile(rows, from, m, w, ahead, sums);
                finish_tile(rows, m, panel, sums, out + begin * out_stride, out_stride, epilogue);
            }
        }
}
