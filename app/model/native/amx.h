/* Products of a panel with up to 32 rows by AMX, whose registers are tiles of 16 rows of 64 bytes.
 *
 * A matrix lies in memory just as its tiles are read: 16 words of inputs by 16 columns, the two of a panel side by
 * side. Every row of a product is computed by itself and in the order of the inputs, so that its numbers do not depend
 * on how many rows there are: bfloat16 weights are always multiplied here, since a tile adds in another order than
 * vectors do; integers are where it pays, since their sums are exact and what follows is the same.
 */
#if defined(__AMX_BF16__) && defined(__AMX_INT8__) && !defined(WITHOUT_AMX)
#define TILE_ROWS 16
#define TILE_BYTES 64
#define AMX_ROWS 32
#define AT_ONCE 4 /* blocks of integers: as long as that their sums stay in registers */

INLINE int on_tiles(Format format, int rows) {
    return format == PLAIN ? PER_LANE == 2 : rows > (format == INT8 ? 4 : 8);
}

/* Compilers do not know that loading a tile reads memory. */
INLINE void finish_stores(void) { __asm__ volatile("" ::: "memory"); }

/* Registers 0 and 1 hold sums of up to 16 rows, 2 and 3 of the rows after those; 4 and 5 what stands left in a product,
 * 6 and 7 what stands right: of `words` of inputs. */
static void shape_tiles(Thread *thread, int rows, int rows_after, int words) {
    const int shape = (rows * 64 + rows_after) * 64 + words;
    if (thread->tile_shape == shape) return;
    thread->tile_shape = shape;
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    const int heights[8] = {rows, rows, rows_after, rows_after, rows, rows_after, words, words};
    for (int i = 0; i < 8; i++) {
        const int bytes = i == 4 || i == 5 ? words * 4 : TILE_BYTES;
        config.rows[i] = (uint8_t)heights[i];
        config.row_bytes[i] = (uint16_t)(heights[i] ? bytes : 0);
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(config));
}

INLINE void shape_product(Thread *thread, const Format format, int rows) {
    const int words = format == INT4 ? 8 : 16, first = rows < TILE_ROWS ? rows : TILE_ROWS;
    shape_tiles(thread, first, rows - first, words);
}

/* A tile's worth of inputs: the sums in registers 0 to 3 grow by the rows at `a` times the words at `w0` and `w1`. */
#define MULTIPLY_TILES(instruction, two, a, stride, w0, w1, w_stride)  \
    do {                                                               \
        _tile_loadd(6, w0, w_stride);                                  \
        _tile_loadd(4, a, stride);                                     \
        instruction(0, 4, 6);                                          \
        _tile_loadd(7, w1, w_stride);                                  \
        instruction(1, 4, 7);                                          \
        if (two) {                                                     \
            _tile_loadd(5, (a) + TILE_ROWS * (stride), stride);        \
            instruction(2, 5, 6);                                      \
            instruction(3, 5, 7);                                      \
        }                                                              \
    } while (0)

INLINE void clear_tiles(const int two) {
    _tile_zero(0);
    _tile_zero(1);
    if (two) {
        _tile_zero(2);
        _tile_zero(3);
    }
}

/* To rows of 32 numbers of 32 bits. */
INLINE void store_tiles(const int two, char *to, int64_t stride) {
    _tile_stored(0, to, stride);
    _tile_stored(1, to + TILE_BYTES, stride);
    if (two) {
        _tile_stored(2, to + TILE_ROWS * stride, stride);
        _tile_stored(3, to + TILE_ROWS * stride + TILE_BYTES, stride);
    }
}

INLINE void plain_tiles(const int two, Operand a, const Matrix *m, const char *w, Sums sums) {
    finish_stores();
    clear_tiles(two);
    for (int64_t k = 0; k < m->inputs / PER_LANE; k += TILE_ROWS, w += TILE_ROWS * PANEL * 4)
        MULTIPLY_TILES(_tile_dpbf16ps, two, a.rows + k * 4, a.stride, w, w + TILE_BYTES, PANEL * 4);
    store_tiles(two, (char *)sums, PANEL * 4);
}

/* Weights of four bits as they would lie in memory in eight. */
INLINE void unpack(const char *w, bytes64 *to) {
    for (int i = 0; i < 8; i++, w += 64) {
        const lanes both = load(w);
        bytes64 *first = to + i / 2 * 4 + i % 2;
        first[0] = (bytes64)(both & 0x0F0F0F0Fu) - 8;
        first[2] = (bytes64)((both >> 4) & 0x0F0F0F0Fu) - 8;
    }
}

/* A few blocks from `begin` on, whose weights are at `w`. */
INLINE void quantized_blocks(const Format format, const int two, const int count, int rows, Operand a, const Matrix *m,
                             int begin, const char *w, Sums sums) {
    const int size = block_inputs(format);
    const char *scales = a.rows + m->inputs + begin * 4;
    _Alignas(64) ivec products[AT_ONCE][AMX_ROWS][2];
    _Alignas(64) bytes64 unpacked[AT_ONCE][16];
    vec w_scales[AT_ONCE][2];
    for (int b = 0; b < count; b++) {
        const char *block = w + b * block_bytes(format);
        w_scales[b][0] = widen(*(const halves *)block), w_scales[b][1] = widen(*(const halves *)(block + 32));
        if (format == INT4) unpack(block + PANEL * 2, unpacked[b]);
    }
    finish_stores();
    for (int b = 0; b < count; b++) {
        const char *bytes = format == INT4 ? (const char *)unpacked[b] : w + b * block_bytes(format) + PANEL * 2;
        clear_tiles(two);
        MULTIPLY_TILES(_tile_dpbssd, two, a.rows + (begin + b) * size, a.stride, bytes, bytes + TILE_BYTES, PANEL * 4);
        store_tiles(two, (char *)products[b], PANEL * 4);
    }
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < count; b++) {
            const vec scale = (vec)spread(scales + r * a.stride + b * 4);
            sums[r][0] = add_scaled(sums[r][0], products[b][r][0], scale, w_scales[b][0]);
            sums[r][1] = add_scaled(sums[r][1], products[b][r][1], scale, w_scales[b][1]);
        }
}

INLINE void quantized_tiles(const Format format, const int two, int rows, Operand a, const Matrix *m, const char *w,
                            Sums sums) {
    const int num_blocks = m->inputs / block_inputs(format);
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = (vec){};
    int b = 0;
    for (; b + AT_ONCE <= num_blocks; b += AT_ONCE, w += AT_ONCE * block_bytes(format))
        quantized_blocks(format, two, AT_ONCE, rows, a, m, b, w, sums);
    for (; b < num_blocks; b++, w += block_bytes(format))
        quantized_blocks(format, two, 1, rows, a, m, b, w, sums);
}

INLINE void multiply_on_tiles(const Format format, int rows, Operand a, const Matrix *m, const char *w, Sums sums) {
    if (format == PLAIN && rows > TILE_ROWS) plain_tiles(1, a, m, w, sums);
    else if (format == PLAIN) plain_tiles(0, a, m, w, sums);
    else if (rows > TILE_ROWS) quantized_tiles(format, 1, rows, a, m, w, sums);
    else quantized_tiles(format, 0, rows, a, m, w, sums);
}

INLINE void release_tiles(Thread *thread) {
    if (thread->tile_shape) _tile_release();
}
#else
#define AMX_ROWS 32
INLINE int on_tiles(Format format, int rows) { return 0; }
INLINE void shape_product(Thread *thread, const Format format, int rows) {}
INLINE void multiply_on_tiles(const Format format, int rows, Operand a, const Matrix *m, const char *w, Sums sums) {}
INLINE void release_tiles(Thread *thread) {}
#endif
