"""First weights with which a small decoder can copy from its first update on.

Copying needs two heads in a row: one that tells each piece which piece stands before it, and one that looks for the
piece behind an earlier occurrence of the current one (an induction head; Olsson et al., 2022, "In-context Learning and
Induction Heads"). From random weights they take thousands of updates to appear; here they are built in, roughly, and
training does the rest. Only first values of ordinary weights change: the model stays a plain Llama.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention

EMBEDDING_STD = 0.1
"""Standard deviation of the first embeddings: large enough that pieces are told apart by their products."""

SHARPNESS = 8.0
"""First attention logit of a previous-piece head at its own distance."""

MATCH = 1.5
"""First gain of queries and keys of an induction head."""

COPY = 6.0
"""First gain of what an induction head writes, in standard deviations of the embeddings."""


@torch.no_grad()
def start_copying(model: LlamaForCausalLM, *, rope_theta: float) -> None:
    """Give previous-piece heads to the first layer, and an induction head to each of the next two.

    model (LlamaForCausalLM): A Llama with attention biases and tied embeddings, freshly made. Changed in place; a model
        with one layer or one head stays as it is.
    rope_theta (float): The base of its rotary positions.
    """
    layers = [layer.self_attn for layer in model.model.layers]
    n_heads, width = model.config.num_attention_heads, model.config.hidden_size
    n_back = n_heads // 2
    if len(layers) < 2 or n_back == 0:
        return
    size = width // n_heads
    embeddings = model.get_input_embeddings().weight
    embeddings.normal_(0, EMBEDDING_STD)
    basis, _ = torch.linalg.qr(torch.randn(width, width))
    for head in range(n_back):
        _look_back(layers[0], head, distance=head + 1, theta=rope_theta, size=size)
        # What is read off the piece before goes where no other head of this layer writes.
        read, written = basis[:, :size].T, basis[:, (head + 1) * size : (head + 2) * size].T
        rows = slice(head * size, (head + 1) * size)
        layers[0].v_proj.weight[rows] = read
        layers[0].o_proj.weight[:, rows] = 2 * EMBEDDING_STD * written.T
    for attention in layers[1:3]:
        rows = slice(0, size)
        attention.q_proj.weight[rows] = MATCH * basis[:, :size].T
        attention.k_proj.weight[rows] = MATCH * basis[:, size : 2 * size].T
        copied, _ = torch.linalg.qr(torch.randn(width, size))
        attention.v_proj.weight[rows] = copied.T
        attention.o_proj.weight[:, rows] = COPY * EMBEDDING_STD * copied


def _look_back(attention: LlamaAttention, head: int, *, distance: int, theta: float, size: int) -> None:
    """Let a head attend to the piece `distance` positions before, whatever the pieces: through its biases alone."""
    frequencies = theta ** (-torch.arange(0, size, 2).float() / size)
    # Only frequencies that turn visibly from one position to the next can tell positions apart.
    query = torch.where(frequencies > 0.02, 1.0, 0.0).repeat(2)
    query = query / query.norm() * (SHARPNESS * size**0.5) ** 0.5
    rows = slice(head * size, (head + 1) * size)
    attention.q_proj.bias[rows] = query
    attention.k_proj.bias[rows] = _rotate(query, frequencies * distance)


def _rotate(vector: Tensor, angles: Tensor) -> Tensor:
    """The rotary rotation of Llama: element i is paired with element i + size / 2."""
    half = len(vector) // 2
    turned = torch.cat((-vector[half:], vector[:half]))
    return vector * torch.cos(angles).repeat(2) + turned * torch.sin(angles).repeat(2)
