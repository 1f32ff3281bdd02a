/* Weight matrices as they are read, and their products with rows of activations.
 *
 * A matrix is panels of 32 columns, and a panel a sequence of blocks of inputs, so that a product reads it once from
 * front to back:
 *   PLAIN  [inputs / PER_LANE][32] lanes
 *   INT8   blocks of 64 inputs: 32 scales (bfloat16), then [16][32] lanes of four bytes, each the weight plus 128
 *   INT4   blocks of 32 inputs: 32 scales, then [4][32] lanes of four bytes; a byte is the weight plus 8 of the lane's
 *          four inputs in its low half, and of the four inputs after them in its high half
 * Activations meet quantised weights as signed bytes, each row and block with a scale of its own: no row's numbers
 * depend on its neighbours. The sum over a block is exact in integers; what was added to the weights is taken off by
 * the row's sum (Jacob et al. 2018).
 */
#define PANEL 32
#define MOST_ROWS 12         /* accumulators of a tile: 24 of the 32 vector registers */
#define MOST_QUANTIZED_ROWS 6 /* which need as many again for the integers of a block */

typedef enum { PLAIN, INT8, INT4 } Format;

#if QUANTIZATION == 8
#define BODY INT8
#define HEAD INT8
#elif QUANTIZATION == 4
#define BODY INT4
#define HEAD INT8 /* the head decides between tokens that are nearly as likely */
#else
#define BODY PLAIN
#define HEAD PLAIN
#endif

typedef struct {
    char *data;
    const float *bias; /* NULL where there is none */
    int32_t inputs, columns; /* whole blocks and whole panels: the last ones are filled up with zeros */
} Matrix;

INLINE int block_inputs(Format format) { return format == INT8 ? 64 : format == INT4 ? 32 : PER_LANE; }
INLINE int64_t block_bytes(Format format) {
    return format == PLAIN ? PANEL * 4 : PANEL * 2 + PANEL * block_inputs(format) / (format == INT4 ? 2 : 1);
}
INLINE int64_t panel_bytes(Format format, int inputs) { return inputs / block_inputs(format) * block_bytes(format); }

/* A row of activations as a product reads it: lanes, then for each block its scale and what to take off. */
INLINE int64_t operand_bytes(Format format, int inputs) {
    if (format == PLAIN) return (int64_t)inputs / PER_LANE * 4;
    return inputs + inputs / block_inputs(format) * 8;
}

typedef struct {
    const char *rows;
    int64_t stride;
} Operand;

INLINE void quantize_row(const Format format, char *to, const float *x, int count, int inputs) {
    const int size = block_inputs(format), num_blocks = inputs / size;
    float block[64];
    float *scales = (float *)(to + inputs);
    int32_t *corrections = (int32_t *)(scales + num_blocks);
    for (int b = 0; b < num_blocks; b++, x += size, to += size) {
        if (count < (b + 1) * size) {
            memset(block, 0, sizeof block);
            x = memcpy(block, x, (count - b * size) * sizeof(float));
        }
        vec most = {}, nothing = {}; /* zero, or NaN if a value is not finite: integers would hide it */
        for (int i = 0; i < size; i += LANES) {
            const vec value = *(const vec *)(x + i), size_of = choose(value < 0, -value, value);
            most = choose(size_of > most, size_of, most);
            nothing += value - value;
        }
        const float largest = reduce_max(most), factor = largest > 0 ? 127 / largest : 0;
        ivec sum = {};
        for (int i = 0; i < size; i += LANES) {
            const ivec q = nearest(*(const vec *)(x + i) * factor);
            sum += q;
            *(bytes *)(to + i) = __builtin_convertvector(q, bytes);
        }
        scales[b] = largest / 127 + reduce_add(nothing);
        corrections[b] = -(format == INT8 ? 128 : 8) * reduce_add_int(sum);
    }
}

/* `count` activations as an operand of a matrix with so many `inputs`. */
INLINE void convert_row(const Format format, char *to, const float *x, int count, int inputs) {
    if (format == PLAIN)
        for (int i = 0; i < count; i += LANES) store_elements((element *)to + i, *(const vec *)(x + i));
    else
        quantize_row(format, to, x, count, inputs);
}

typedef vec Sums[MOST_ROWS][2];

/* Products of `rows` rows with one panel. `rows` is a constant wherever this is inlined. */
INLINE void plain_tile(const int rows, Operand a, const Matrix *m, const char *w, Sums sums) {
    vec acc[MOST_ROWS][2];
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = (vec){};
    for (int64_t k = 0; k < m->inputs / PER_LANE; k++, w += PANEL * 4) {
        const lanes w0 = load(w), w1 = load(w + 64);
        for (int r = 0; r < rows; r++) {
            const lanes x = spread(a.rows + r * a.stride + k * 4);
            acc[r][0] = dot(acc[r][0], w0, x);
            acc[r][1] = dot(acc[r][1], w1, x);
        }
    }
    for (int r = 0; r < rows; r++) sums[r][0] = acc[r][0], sums[r][1] = acc[r][1];
}

INLINE void quantized_tile(const Format format, const int rows, Operand a, const Matrix *m, const char *w, Sums sums) {
    const int size = block_inputs(format), num_blocks = m->inputs / size;
    const int step = format == INT4 ? 8 : 4; /* inputs in a pair of vectors */
    const char *scales = a.rows + m->inputs, *corrections = scales + num_blocks * 4;
    vec acc[MOST_QUANTIZED_ROWS][2];
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = (vec){};
    for (int64_t b = 0; b < num_blocks; b++) {
        const vec w_scale0 = widen(*(const halves *)w), w_scale1 = widen(*(const halves *)(w + 32));
        w += PANEL * 2;
        ivec sum[MOST_QUANTIZED_ROWS][2];
        for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = (ivec)spread(corrections + r * a.stride + b * 4);
        for (int i = 0; i < size; i += step, w += PANEL * 4) {
            const lanes w0 = load(w), w1 = load(w + 64);
            for (int r = 0; r < rows; r++) {
                const char *x = a.rows + r * a.stride + b * size + i;
                const lanes first = spread(x);
                if (format == INT8) {
                    sum[r][0] = dot_bytes(sum[r][0], w0, first);
                    sum[r][1] = dot_bytes(sum[r][1], w1, first);
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
            acc[r][0] += __builtin_convertvector(sum[r][0], vec) * (scale * w_scale0);
            acc[r][1] += __builtin_convertvector(sum[r][1], vec) * (scale * w_scale1);
        }
    }
    for (int r = 0; r < rows; r++) sums[r][0] = acc[r][0], sums[r][1] = acc[r][1];
}

INLINE void any_tile(const Format format, int rows, Operand a, const Matrix *m, const char *w, Sums sums) {
    switch (rows) {
#define CASE(n)                                               \
    case n:                                                   \
        if (format == PLAIN) plain_tile(n, a, m, w, sums);    \
        else quantized_tile(format, n, a, m, w, sums);        \
        break
        CASE(1); CASE(2); CASE(3); CASE(4); CASE(5); CASE(6);
#undef CASE
#define CASE(n)                                               \
    case n:                                                   \
        if (format == PLAIN) plain_tile(n, a, m, w, sums);    \
        break
        CASE(7); CASE(8); CASE(9); CASE(10); CASE(11); CASE(12);
#undef CASE
    }
}

/* Compiled once for each format there is: they are most of the code. */
static __attribute__((noinline)) void body_tile(int rows, Operand a, const Matrix *m, const char *w, Sums sums) {
    any_tile(BODY, rows, a, m, w, sums);
}
static __attribute__((noinline)) void head_tile(int rows, Operand a, const Matrix *m, const char *w, Sums sums) {
    any_tile(HEAD, rows, a, m, w, sums);
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
 * some. With more than one tile of rows a tile's activations stay in the first cache while they pass by, and the
 * panels in the second until the next tile comes. */
INLINE int panels_at_once(const Format format, const Thread *thread, const Matrix *m, int num_tiles) {
    const int64_t wanted = (num_tiles > 1 ? 384 << 10 : 48 << 10) / panel_bytes(format, m->inputs);
    const int64_t fair = m->columns / PANEL / (8 * thread->team->num_threads);
    const int64_t least = wanted < fair ? wanted : fair;
    return least > 1 ? (int)least : 1;
}

/* out = a x m, by all threads, in tiles of equal height. */
INLINE void multiply(Thread *thread, const Format format, Operand a, int num_rows, const Matrix *m, float *out,
                     int64_t out_stride, const Epilogue epilogue) {
    const int most = format == PLAIN ? MOST_ROWS : MOST_QUANTIZED_ROWS;
    const int num_tiles = (num_rows + most - 1) / most;
    const int chunk = panels_at_once(format, thread, m, num_tiles);
    for (int first, last; take(thread, m->columns / PANEL, chunk, &first, &last);)
        for (int t = 0; t < num_tiles; t++) {
            const int begin = (int)((int64_t)num_rows * t / num_tiles);
            const int rows = (int)((int64_t)num_rows * (t + 1) / num_tiles) - begin;
            const Operand from = {a.rows + begin * a.stride, a.stride};
            for (int panel = first; panel < last; panel++) {
                Sums sums;
                const char *w = m->data + panel * panel_bytes(format, m->inputs);
                if (format == BODY) body_tile(rows, from, m, w, sums);
                else head_tile(rows, from, m, w, sums);
                finish_tile(rows, m, panel, sums, out + begin * out_stride, out_stride, epilogue);
            }
        }
}

INLINE float weight_at(const Format format, const char *panel, int64_t k, int column) {
    const int size = block_inputs(format);
    const char *block = panel + k / size * block_bytes(format);
    const int i = (int)(k % size);
    if (format == PLAIN) return value_of(((const element *)block)[column * PER_LANE + i]);
    const float scale = widen_half(((const uint16_t *)block)[column]);
    const uint8_t *bytes = (const uint8_t *)block + PANEL * 2;
    if (format == INT8) return scale * (bytes[(i / 4 * PANEL + column) * 4 + i % 4] - 128);
    const uint8_t byte = bytes[(i / 8 * PANEL + column) * 4 + i % 4];
    return scale * ((i % 8 < 4 ? byte & 15 : byte >> 4) - 8);
}

/* One column of a matrix: where head and embedding are the same weights, a token's embedding. */
INLINE void read_column(const Format format, const Matrix *m, int64_t column, float *to, int count) {
    const char *panel = m->data + column / PANEL * panel_bytes(format, m->inputs);
    for (int k = 0; k < count; k++) to[k] = weight_at(format, panel, k, column % PANEL);
}

/* Squared error of `count` weights at a scale. */
static inline float error_at(const float *x, int count, float scale, float least, float most) {
    float error = 0;
    for (int i = 0; i < count; i++) {
        float q = rintf(x[i] / scale);
        q = q < least ? least : q > most ? most : q;
        error += (x[i] - q * scale) * (x[i] - q * scale);
    }
    return error;
}

/* The scale, a bfloat16 number, of a block's weights. Eight bits hold the largest weight exactly. Four bits reach
 * from -8 to 7, the sign of the scale turns the largest weight towards -8, and clipping it a little may pay: of a few
 * scales the one with the least squared error is taken. */
static uint16_t scale_of(const Format format, const float *x, int count) {
    float largest = 0;
    for (int i = 0; i < count; i++) largest = fabsf(x[i]) > fabsf(largest) ? x[i] : largest;
    if (largest == 0) return 0;
    if (format == INT8) {
        const uint16_t scale = narrow_one(fabsf(largest) / 127);
        return widen_half(scale) * 127.49f < fabsf(largest) ? scale + 1 : scale;
    }
    uint16_t best = 0;
    float least_error = INFINITY;
    for (float reach = -8.5f; reach <= -6.5f; reach += 0.25f) {
        const uint16_t scale = narrow_one(largest / reach);
        const float error = error_at(x, count, widen_half(scale), -8, 7);
        if (error < least_error) least_error = error, best = scale;
    }
    return best;
}

INLINE void pack_quantized(const Format format, char *block, int column, const float *x) {
    const int size = block_inputs(format), zero = format == INT8 ? 128 : 8, least = format == INT8 ? 1 : 0;
    const uint16_t scale = scale_of(format, x, size);
    const float factor = scale ? 1 / widen_half(scale) : 0;
    uint8_t *bytes = (uint8_t *)block + PANEL * 2;
    ((uint16_t *)block)[column] = scale;
    for (int i = 0; i < size; i++) {
        int q = (int)rintf(x[i] * factor) + zero;
        q = q < least ? least : q > 2 * zero - 1 ? 2 * zero - 1 : q;
        if (format == INT8) bytes[(i / 4 * PANEL + column) * 4 + i % 4] = (uint8_t)q;
        else if (i % 8 < 4) bytes[(i / 8 * PANEL + column) * 4 + i % 4] = (uint8_t)q;
        else bytes[(i / 8 * PANEL + column) * 4 + i % 4] |= (uint8_t)(q << 4);
    }
}

/* Fill a matrix from `[outputs][inputs]` weights. */
INLINE void pack_matrix(const Format format, const Matrix *m, const element *weights, int outputs, int inputs) {
    const int size = block_inputs(format);
    for (int64_t column = 0; column < m->columns; column++)
        for (int64_t k = 0; k < m->inputs; k += size) {
            char *block = m->data + column / PANEL * panel_bytes(format, m->inputs) + k / size * block_bytes(format);
            float x[64];
            for (int i = 0; i < size; i++)
                x[i] = column < outputs && k + i < inputs ? value_of(weights[column * inputs + k + i]) : 0;
            if (format == PLAIN)
                for (int i = 0; i < size; i++) ((element *)block)[column % PANEL * PER_LANE + i] = element_of(x[i]);
            else
                pack_quantized(format, block, column % PANEL, x);
        }
}
