/* Vectors of 16 lanes, and what a lane holds: one float, or (-DBF16) two bfloat16 numbers whose products are added. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define LANES 16
#define LOG2_E 1.44269504088896341f
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(64), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(64), aligned(4)));
typedef uint32_t lanes __attribute__((vector_size(64), aligned(4)));
typedef uint16_t halves __attribute__((vector_size(32), aligned(2)));
typedef int8_t bytes64 __attribute__((vector_size(64), aligned(1)));
typedef int8_t bytes __attribute__((vector_size(16), aligned(1)));

INLINE lanes load(const void *p) { return *(const lanes *)p; }

/* The same lane, 16 times. */
INLINE lanes spread(const void *p) {
    uint32_t lane;
    memcpy(&lane, p, 4);
    return (lanes){} + lane;
}

INLINE float widen_half(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

INLINE vec widen(halves h) { return (vec)(__builtin_convertvector(h, lanes) << 16); }

/* Round to nearest, ties to even. */
INLINE halves narrow(vec v) {
#ifdef __AVX512BF16__
    return (halves)_mm512_cvtneps_pbh((__m512)v);
#else
    const lanes bits = (lanes)v;
    return __builtin_convertvector((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16, halves);
#endif
}

INLINE uint16_t narrow_one(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

#ifdef BF16
#define PER_LANE 2
typedef uint16_t element;
INLINE float value_of(element e) { return widen_half(e); }
INLINE element element_of(float value) { return narrow_one(value); }
INLINE void store_elements(element *to, vec v) { *(halves *)to = narrow(v); }

INLINE vec dot(vec sum, lanes a, lanes b) {
#ifdef __AVX512BF16__
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    sum += (vec)(a << 16) * (vec)(b << 16);
    return sum + (vec)(a & 0xFFFF0000u) * (vec)(b & 0xFFFF0000u);
#endif
}
#else
#define PER_LANE 1
typedef float element;
INLINE float value_of(element e) { return e; }
INLINE element element_of(float value) { return value; }
INLINE void store_elements(element *to, vec v) { *(vec *)to = v; }
INLINE vec dot(vec sum, lanes a, lanes b) { return sum + (vec)a * (vec)b; }
#endif

/* A lane of four products: unsigned bytes times signed ones. */
INLINE ivec dot_bytes(ivec sum, lanes unsigned_bytes, lanes signed_bytes) {
#ifdef __AVX512VNNI__
    return (ivec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)unsigned_bytes, (__m512i)signed_bytes);
#else
    for (int shift = 0; shift < 32; shift += 8)
        sum += (ivec)((unsigned_bytes >> shift) & 0xFF) * ((ivec)(signed_bytes << (24 - shift)) >> 24);
    return sum;
#endif
}

INLINE float reduce_add(vec v) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

INLINE float reduce_max(vec v) {
    float largest = v[0];
    for (int i = 1; i < LANES; i++) largest = v[i] > largest ? v[i] : largest;
    return largest;
}

INLINE int32_t reduce_add_int(ivec v) {
    int32_t sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

INLINE vec blend(ivec mask, vec yes, vec no) { return (vec)(((ivec)yes & mask) | ((ivec)no & ~mask)); }

/* The larger and the smaller of each pair; where one is not a number, the second. */
#ifdef __AVX512F__
INLINE vec larger(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vec smaller(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
#else
INLINE vec larger(vec a, vec b) { return blend(a > b, a, b); }
INLINE vec smaller(vec a, vec b) { return blend(a < b, a, b); }
#endif

/* Nearest integer of numbers below 2^22. */
INLINE ivec nearest(vec x) {
    const vec magic = (vec){} + 12582912.0f;
    return (ivec)(x + magic) - (ivec)magic;
}

/* 2 to the power of x, to two units in the last place: that of the nearest integer, times a polynomial of least relative
 * error for the rest, which is at most a half. What is too small is zero. */
INLINE vec exp2_vec(vec x) {
    x = larger((vec){} - 200.0f, x);
#ifdef __AVX512F__
    const vec whole = (vec)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    x = smaller((vec){} + 127.0f, x);
    const ivec power = nearest(x);
    const vec whole = __builtin_convertvector(power, vec);
#endif
    const vec r = x - whole;
    vec y = r * 1.326472731307149e-3f + 9.671512991189957e-3f;
    y = y * r + 5.550733581185341e-2f;
    y = y * r + 2.4022242426872253e-1f;
    y = y * r + 6.931470036506653e-1f;
    y = y * r + 1.0f;
#ifdef __AVX512F__
    return (vec)_mm512_scalef_ps((__m512)y, (__m512)whole);
#else
    return blend(x < -126.0f, (vec){}, y * (vec)((power + 127) << 23));
#endif
}
