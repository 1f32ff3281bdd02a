/* Weight matrices as they are read, and rows of activations as they meet them.
 *
 * A matrix is panels of 32 columns, and a panel a sequence of blocks of inputs, so that a product reads it once from
 * front to back:
 *   PLAIN  [inputs / PER_LANE][32] lanes
 *   INT8   blocks of 64 inputs: 32 scales (bfloat16), then [16][32] lanes of four bytes, signed
 *   INT4   blocks of 32 inputs: 32 scales, then [4][32] lanes of four bytes; a byte is the weight plus 8 of the lane's
 *          four inputs in its low half, and of the four inputs after them in its high half
 * Activations meet quantised weights as signed bytes, each row and block with a scale of its own: no row's numbers
 * depend on its neighbours. The sum over a block is exact in integers. Where instructions want unsigned weights, what
 * that adds is taken off by the row's sum (Jacob et al. 2018).
 */
#define PANEL 32

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
/* Those that a pair of vectors holds, which are the 32 columns. */
INLINE int pair_inputs(Format format) { return format == INT4 ? 8 : format == INT8 ? 4 : PER_LANE; }
INLINE int64_t block_bytes(Format format) {
    return format == PLAIN ? PANEL * 4 : PANEL * 2 + PANEL * block_inputs(format) / (format == INT4 ? 2 : 1);
}
/* Blocks are whole, and so are those of bfloat16 numbers that AMX multiplies at once. */
INLINE int whole_inputs(Format format, int inputs) {
    const int size = format == PLAIN && PER_LANE == 2 ? 32 : block_inputs(format);
    return (inputs + size - 1) / size * size;
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
            const vec value = *(const vec *)(x + i), size_of = blend(value < 0, -value, value);
            most = blend(size_of > most, size_of, most);
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
    if (format != PLAIN) return quantize_row(format, to, x, count, inputs);
    for (int i = 0; i < count; i += LANES) store_elements((element *)to + i, *(const vec *)(x + i));
    memset((element *)to + count, 0, (inputs - count) * sizeof(element));
}

/* The sums of a row in a panel grow by a block's sum of integers. */
INLINE vec add_scaled(vec sum, ivec products, vec scale, vec w_scale) {
    return sum + __builtin_convertvector(products, vec) * (scale * w_scale);
}

/* What up to 32 rows are in one panel. */
typedef vec Sums[32][2];
