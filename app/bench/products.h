/* Products of matrices that stay in the caches, by the best instructions of this processor.
 *
 * They are real products that accumulate over repetitions, so that the caller can check every number: each repetition
 * adds left times right to `out`. The rows of `left` and the panels of `right` consist of 32-bit words: one float32, two
 * bfloat16 or four int8 that are adjacent along the inner dimension, which is what one lane multiplies at once. `words`
 * is a multiple of 16.
 *
 *   left    [ROWS][words]
 *   right   [COLUMNS / panel][words][panel]
 *   out     [ROWS][COLUMNS], float32 or int32
 */
#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/* The accumulators of a tile of `TILE` rows and two vectors fit in registers, with a few left for the factors. */
#if defined __AVX512F__
#define LANES 16
#define TILE 12
#elif defined __AVX__
#define LANES 8
#define TILE 6
#elif defined __aarch64__
#define LANES 4
#define TILE 12
#else
#define LANES 4
#define TILE 6
#endif
#define PANEL (2 * LANES)

enum { ROWS = 96, COLUMNS = 128 };
const int32_t num_rows = ROWS, num_columns = COLUMNS, panel_columns = PANEL;

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4)));

typedef enum { FLOAT32, BFLOAT16, INT8 } Kind;

/* Whether this processor has instructions for products of this kind. */
int32_t has_kind(int32_t kind) {
#ifdef __AVX512BF16__
    if (kind == BFLOAT16) return 1;
#endif
#ifdef __AVX512VNNI__
    if (kind == INT8) return 1;
#endif
    return kind == FLOAT32;
}

/* sum + left * right, lane by lane; `left` is the same word in every lane. int8: left is unsigned, right is signed. */
INLINE vec multiply_add(const Kind kind, vec sum, int32_t left, ivec right) {
#ifdef __AVX512BF16__
    if (kind == BFLOAT16)
        return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(left), (__m512bh)right);
#endif
#ifdef __AVX512VNNI__
    if (kind == INT8)
        return (vec)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(left), (__m512i)right);
#endif
    float x;
    memcpy(&x, &left, 4);
    return sum + x * (vec)right;
}

INLINE void tile(const Kind kind, const int32_t *left, const ivec *right, int words, float *out) {
    vec sums[TILE][2];
    for (int r = 0; r < TILE; r++)
        for (int c = 0; c < 2; c++) sums[r][c] = *(const vec *)(out + r * COLUMNS + c * LANES);
    for (int k = 0; k < words; k++) {
        const ivec first = right[2 * k], second = right[2 * k + 1];
        for (int r = 0; r < TILE; r++) {
            sums[r][0] = multiply_add(kind, sums[r][0], left[r * words + k], first);
            sums[r][1] = multiply_add(kind, sums[r][1], left[r * words + k], second);
        }
    }
    for (int r = 0; r < TILE; r++)
        for (int c = 0; c < 2; c++) *(vec *)(out + r * COLUMNS + c * LANES) = sums[r][c];
}

INLINE void multiply_by_vectors(const Kind kind, const int32_t *left, const int32_t *right, int words, float *out) {
    for (int p = 0; p < COLUMNS / PANEL; p++)
        for (int r = 0; r < ROWS; r += TILE)
            tile(kind, left + r * words, (const ivec *)(right + p * words * PANEL), words, out + r * COLUMNS + p * PANEL);
}

#if defined __AMX_BF16__ && defined __AMX_INT8__ && !defined WITHOUT_AMX
#define AMX 1
/* Configures every AMX register as a tile of 16 rows of 16 words. */
static void shape_registers(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) config.rows[i] = 16, config.row_bytes[i] = 64;
    __asm__ volatile("ldtilecfg %0" ::"m"(config));
}

#define MULTIPLY_TILES(instruction) \
    do {                            \
        instruction(0, 4, 6);       \
        instruction(1, 4, 7);       \
        instruction(2, 5, 6);       \
        instruction(3, 5, 7);       \
    } while (0)

INLINE void amx_tile(const Kind kind, const int32_t *left, const int32_t *right, int words, float *out) {
    float *lower = out + 16 * COLUMNS;
    _tile_loadd(0, out, COLUMNS * 4);
    _tile_loadd(1, out + 16, COLUMNS * 4);
    _tile_loadd(2, lower, COLUMNS * 4);
    _tile_loadd(3, lower + 16, COLUMNS * 4);
    for (int k = 0; k < words; k += 16) {
        _tile_loadd(4, left + k, words * 4);
        _tile_loadd(5, left + 16 * words + k, words * 4);
        _tile_loadd(6, right + k * PANEL, PANEL * 4);
        _tile_loadd(7, right + k * PANEL + 16, PANEL * 4);
        if (kind == BFLOAT16) MULTIPLY_TILES(_tile_dpbf16ps);
        else MULTIPLY_TILES(_tile_dpbusd);
    }
    _tile_stored(0, out, COLUMNS * 4);
    _tile_stored(1, out + 16, COLUMNS * 4);
    _tile_stored(2, lower, COLUMNS * 4);
    _tile_stored(3, lower + 16, COLUMNS * 4);
}

INLINE void multiply_by_amx(const Kind kind, const int32_t *left, const int32_t *right, int words, float *out) {
    for (int p = 0; p < COLUMNS / PANEL; p++)
        for (int r = 0; r < ROWS; r += 32)
            amx_tile(kind, left + r * words, right + p * words * PANEL, words, out + r * COLUMNS + p * PANEL);
}
#else
#define AMX 0
static void shape_registers(void) {}
INLINE void multiply_by_amx(const Kind kind, const int32_t *left, const int32_t *right, int words, float *out) {}
#endif

/* out += left * right */
INLINE void multiply(const Kind kind, const int32_t *left, const int32_t *right, int words, float *out) {
    if (AMX && kind != FLOAT32) multiply_by_amx(kind, left, right, words, out);
    else multiply_by_vectors(kind, left, right, words, out);
}
