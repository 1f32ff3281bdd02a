/* How the structures that callers fill lie in memory, field by field, so that a caller in another language can compare
 * them with its own. None of them has padding: then a field that one side lacks changes the size of the whole. */
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name; /* of a field, "Step.slots", or of a whole structure, "Step" */
    int64_t offset, size;
} FieldLayout;

#define WHOLE(type) {#type, 0, sizeof(type)}
#define FIELD(type, field) {#type "." #field, offsetof(type, field), sizeof(((type *)0)->field)}

static const FieldLayout layouts[] = {
    WHOLE(Matrix), FIELD(Matrix, data), FIELD(Matrix, bias), FIELD(Matrix, inputs), FIELD(Matrix, columns),

    WHOLE(Layer), FIELD(Layer, qkv), FIELD(Layer, output), FIELD(Layer, gate_up), FIELD(Layer, down),
    FIELD(Layer, input_norm), FIELD(Layer, post_norm), FIELD(Layer, query_norm), FIELD(Layer, key_norm),
    FIELD(Layer, keys), FIELD(Layer, values), FIELD(Layer, window),

    WHOLE(Model), FIELD(Model, num_layers), FIELD(Model, hidden), FIELD(Model, num_heads), FIELD(Model, num_kv_heads),
    FIELD(Model, head_size), FIELD(Model, intermediate), FIELD(Model, block_size), FIELD(Model, num_threads),
    FIELD(Model, epsilon), FIELD(Model, scale), FIELD(Model, layers), FIELD(Model, embedding),
    FIELD(Model, final_norm), FIELD(Model, cosines), FIELD(Model, sines), FIELD(Model, head),

    WHOLE(Tile), FIELD(Tile, row), FIELD(Tile, begin), FIELD(Tile, count), FIELD(Tile, to),

    WHOLE(Step), FIELD(Step, num_tokens), FIELD(Step, num_rows), FIELD(Step, num_logits), FIELD(Step, tables_stride),
    FIELD(Step, input_ids), FIELD(Step, positions), FIELD(Step, slots), FIELD(Step, cu_seqlens), FIELD(Step, tables),
    FIELD(Step, logits_indices), FIELD(Step, residual), FIELD(Step, normed), FIELD(Step, qkv), FIELD(Step, attended),
    FIELD(Step, activated), FIELD(Step, wanted), FIELD(Step, operand), FIELD(Step, scores),
    FIELD(Step, scores_stride), FIELD(Step, tiles), FIELD(Step, logits),

    WHOLE(Sampling), FIELD(Sampling, num_rows), FIELD(Sampling, vocab_size), FIELD(Sampling, stride),
    FIELD(Sampling, room), FIELD(Sampling, logits), FIELD(Sampling, draws), FIELD(Sampling, weights),
    FIELD(Sampling, token_ids),

    WHOLE(Draw), DRAW_FIELDS,
};

/* Number `index` of them, or NULL behind the last one. */
const FieldLayout *field_layout(int index) {
    return index < (int)(sizeof layouts / sizeof *layouts) ? layouts + index : NULL;
}
