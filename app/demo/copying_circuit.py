"""A start from which copying is learned at once.

To repeat a name, a model needs two attention heads in a row (an "induction" pair, Olsson et al. 2022,
https://transformer-circuits.pub/2022/in-context-learning-and-induction-heads): the first brings to each token its
predecessor, the second looks for a place whose predecessor equals the current token and takes what stands there.
A model of this size finds the pair only after many millions of tokens, and until then mixes up all names. So the first
two layers start with a rough pair, whose query and key weights are held while everything around them learns to use it.

In the residual stream, coordinate 0 holds a constant, coordinates 1 to 16 the predecessor, the others the token.
"""

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from app.demo.network import HEAD_DIM

_PAIRS = HEAD_DIM // 2
_FAST = _PAIRS // 2
_HEAD = slice(0, HEAD_DIM)
_PREDECESSOR = slice(1, 1 + _PAIRS)
_EVERY = slice(None)
_DISTANCE_SHARPNESS = 2.0
_MATCH_SHARPNESS = 2.2
_COPY_STRENGTH = 3.0


@torch.no_grad()
def plant_copying(model: LlamaForCausalLM) -> None:
    """Overwrite parts of the embedding and the first head of the first two layers, and hold them."""
    embedding = model.model.embed_tokens.weight
    scale = float(embedding.std())
    embedding[:, 0] = 4 * scale
    embedding[:, _PREDECESSOR] = 0
    _hold(embedding, (_EVERY, slice(0, 1 + _PAIRS)))
    content = torch.nn.init.orthogonal_(torch.empty(_PAIRS, embedding.shape[1])).to(embedding.device)
    content[:, : 1 + _PAIRS] = 0
    first, second = model.model.layers[0], model.model.layers[1]
    _look_back_one(first.self_attn, content, float(model.config.rope_parameters["rope_theta"]), scale)
    _hold(first.mlp.down_proj.weight, (_PREDECESSOR, _EVERY))
    _match_and_copy(second.self_attn, content, scale)


def _hold(weight: Tensor, *regions: tuple[slice, slice]) -> None:
    """No gradient reaches the regions, so the optimizer leaves them as they are."""
    mask = torch.ones_like(weight)
    for region in regions:
        mask[region] = 0
    weight.register_hook(lambda gradient: gradient * mask)  # type: ignore[no-untyped-call]


def _look_back_one(attention: torch.nn.Module, content: Tensor, theta: float, scale: float) -> None:
    """The score is a sum of cosines of (distance - 1), so it is highest at one; `content` `[16, width]` is moved.

    Rotary embeddings turn coordinates i and i + 16 of a head together, by theta^(-i / 16) for each position.
    """
    query, key, value, output = _projections(attention)
    angles = theta ** (-torch.arange(_FAST, device=content.device) / _PAIRS)
    query[_HEAD] = 0
    key[_HEAD] = 0
    key[:_FAST, 0] = _DISTANCE_SHARPNESS
    query[:_FAST, 0] = _DISTANCE_SHARPNESS * angles.cos()
    query[_PAIRS : _PAIRS + _FAST, 0] = -_DISTANCE_SHARPNESS * angles.sin()
    value[:_PAIRS] = content
    output[_PREDECESSOR, :_PAIRS] = scale * torch.eye(_PAIRS, device=content.device)
    _hold(query, (_HEAD, _EVERY))
    _hold(key, (_HEAD, _EVERY))
    _hold(value, (slice(0, _PAIRS), _EVERY))
    _hold(output, (_EVERY, slice(0, _PAIRS)), (_PREDECESSOR, _EVERY))


def _match_and_copy(attention: torch.nn.Module, content: Tensor, scale: float) -> None:
    """Compares each predecessor with the current token in the slow pairs, which hardly turn with distance."""
    query, key, value, output = _projections(attention)
    slow = [*range(_FAST, _PAIRS), *range(_PAIRS + _FAST, HEAD_DIM)]
    query[_HEAD] = 0
    key[_HEAD] = 0
    query[slow] = _MATCH_SHARPNESS * content
    key[slow, _PREDECESSOR] = _MATCH_SHARPNESS * torch.eye(_PAIRS, device=content.device)
    copied = torch.nn.init.orthogonal_(torch.empty(HEAD_DIM, content.shape[1])).to(content.device)
    value[_HEAD] = copied
    output[:, _HEAD] = _COPY_STRENGTH * scale * copied.T
    _hold(query, (_HEAD, _EVERY))
    _hold(key, (_HEAD, _EVERY))


def _projections(attention: torch.nn.Module) -> list[Tensor]:
    """The weights for query, key, value and output."""
    return [attention.get_submodule(name).get_parameter("weight") for name in ("q_proj", "k_proj", "v_proj", "o_proj")]
