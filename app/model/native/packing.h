/* Weights packed into matrices, and single ones read back. */
INLINE float weight_at(const Format format, const char *panel, int64_t k, int column) {
    const int size = block_inputs(format);
    const char *block = panel + k / size * block_bytes(format);
    const int i = (int)(k % size);
    if (format == PLAIN) return value_of(((const element *)block)[column * PER_LANE + i]);
    const float scale = widen_half(((const uint16_t *)block)[column]);
    const uint8_t *bytes = (const uint8_t *)block + PANEL * 2;
    if (format == INT8) return scale * (int8_t)bytes[(i / 4 * PANEL + column) * 4 + i % 4];
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
    float largest = 0, nothing = 0; /* zero, or NaN if a weight is not finite: integers would hide it */
    for (int i = 0; i < count; i++) {
        largest = fabsf(x[i]) > fabsf(largest) ? x[i] : largest;
        nothing += x[i] - x[i];
    }
    if (nothing != 0) return 0x7FC0;
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
    const int size = block_inputs(format), least = format == INT8 ? -127 : -8, most = format == INT8 ? 127 : 7;
    const uint16_t scale = scale_of(format, x, size);
    const float factor = scale ? 1 / widen_half(scale) : 0;
    uint8_t *bytes = (uint8_t *)block + PANEL * 2;
    ((uint16_t *)block)[column] = scale;
    for (int i = 0; i < size; i++) {
        int q = (int)rintf(x[i] * factor);
        q = q < least ? least : q > most ? most : q;
        if (format == INT8) bytes[(i / 4 * PANEL + column) * 4 + i % 4] = (uint8_t)q;
        else if (i % 8 < 4) bytes[(i / 8 * PANEL + column) * 4 + i % 4] = (uint8_t)(q + 8);
        else bytes[(i / 8 * PANEL + column) * 4 + i % 4] |= (uint8_t)((q + 8) << 4);
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
