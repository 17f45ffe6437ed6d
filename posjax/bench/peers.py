"""Public programs with the same shapes, if installed: `pip install -e '.[peers]'`.

Each program trains on the same tokens with the same loss and torch's fused AdamW, without dropout.
"""

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from posjax.bench import shapes
from posjax.bench.shapes import LAYERS, PROMPT, D, F, H, N, V

if TYPE_CHECKING:
  import torch

  from posjax.bench.subjects import Subject


def build(subject: 'Subject') -> tuple[Callable[[], Any], None]:
  """Returns (a function that runs one call, None)."""
  import torch

  torch.manual_seed(0)
  return BUILDERS[subject.case][subject.name](subject), None


def rows(batch: int, length: int) -> 'torch.Tensor':
  import numpy as np
  import torch

  return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (batch, length)))


def step(make: Callable[[int], Any]) -> Callable[['Subject'], Callable[[], Any]]:
  """Returns a builder of a training step for `make`, length -> model [B, T] -> [B, T, V]."""

  def builder(subject):
    import torch
    from torch.nn import functional

    model = make(subject.length)
    adamw = torch.optim.AdamW(
      model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    row_BT = rows(subject.batch, subject.length + 1)

    def call():
      logits_BTV = model(row_BT[:, :-1])
      loss = functional.cross_entropy(logits_BTV.flatten(0, 1), row_BT[:, 1:].flatten())
      adamw.zero_grad()
      loss.backward()
      adamw.step()
      loss.item()

    return call

  return builder


def nanogpt(length: int) -> 'torch.nn.Module':
  from posjax.bench.nanogpt import NanoGPT

  return NanoGPT(length)


def hf(config: str, length: int) -> 'torch.nn.Module':
  """Returns a Hugging Face causal model as a function of tokens only."""
  import torch

  class Logits(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.model = hf_model(config, length)

    def forward(self, tokens_BT):
      return self.model(input_ids=tokens_BT, use_cache=False).logits

  return Logits()


def hf_model(name: str, length: int) -> Any:
  import transformers

  common = dict(vocab_size=V, bos_token_id=None, eos_token_id=None, pad_token_id=None)
  attention = 'sdpa'
  if name == 'gpt2':
    config = transformers.GPT2Config(
      n_positions=length, n_embd=D, n_layer=LAYERS, n_head=N, n_inner=F, resid_pdrop=0,
      embd_pdrop=0, attn_pdrop=0, **common,
    )
  elif name == 'llama':
    config = transformers.LlamaConfig(
      max_position_embeddings=length, hidden_size=D, num_hidden_layers=LAYERS,
      num_attention_heads=N, intermediate_size=F, tie_word_embeddings=True, **common,
    )
  else:
    attention = 'eager'  # Bloom supports no other
    config = transformers.BloomConfig(
      hidden_size=D, n_layer=LAYERS, n_head=N, hidden_dropout=0, attention_dropout=0, **common
    )
  return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention)


def t5(_: int) -> 'torch.nn.Module':
  """Returns T5's stack as a decoder-only model with a tied head."""
  import torch
  from transformers import T5Config
  from transformers.models.t5.modeling_t5 import T5Stack

  class Decoder(torch.nn.Module):
    def __init__(self):
      super().__init__()
      config = T5Config(
        vocab_size=V, d_model=D, d_kv=H, d_ff=F, num_layers=LAYERS, num_heads=N, dropout_rate=0,
        is_decoder=True, use_cache=False,
      )
      config._attn_implementation = 'sdpa'
      self.stack, self.table = T5Stack(config), torch.nn.Embedding(V, D)

    def forward(self, tokens_BT):
      x_BTD = self.stack(inputs_embeds=self.table(tokens_BT)).last_hidden_state
      return x_BTD * D**-0.5 @ self.table.weight.T

  return Decoder()


def x_transformers(length: int) -> 'torch.nn.Module':
  from x_transformers import Decoder, TransformerWrapper

  layers = Decoder(
    dim=D, depth=LAYERS, heads=N, attn_dim_head=H, rotary_pos_emb=True, rotary_emb_dim=H,
    attn_flash=True,
  )
  return TransformerWrapper(
    num_tokens=V, max_seq_len=length, attn_layers=layers, use_abs_pos_emb=False, tie_embedding=True
  )


def sdpa(
  bias: Callable[[int], tuple[list[Any], Callable[[], Any]]]
) -> Callable[['Subject'], Callable[[], Any]]:
  """Returns a builder of fused attention, forward and backward.

  `bias(length)` returns trainable weights and a function that returns a mask or None.
  """

  def builder(subject):
    import torch
    from torch.nn import functional

    shape = (1, shapes.LAYER_N, subject.length, shapes.LAYER_H)
    inputs = [torch.randn(shape, requires_grad=True) for _ in range(3)]
    weights, make_mask = bias(subject.length)

    def call():
      mask = make_mask()
      o_BNTH = functional.scaled_dot_product_attention(
        *inputs, attn_mask=mask, is_causal=mask is None
      )
      torch.autograd.grad((o_BNTH**2).sum(), [*inputs, *weights])

    return call

  return builder


def no_bias(_: int) -> tuple[list[Any], Callable[[], Any]]:
  return [], lambda: None


def alibi(length: int) -> tuple[list[Any], Callable[[], Any]]:
  """Returns a constant mask, computed once."""
  import torch

  slopes_N11 = 2.0 ** -torch.arange(1, shapes.LAYER_N + 1)[:, None, None]
  distance_TS, unseen_TS = distances(length)
  mask_BNTS = (-slopes_N11 * distance_TS).masked_fill(unseen_TS, -math.inf)[None]
  return [], lambda: mask_BNTS


def t5_bias(length: int) -> tuple[list[Any], Callable[[], Any]]:
  """Returns a mask from a trained table, which torch must rebuild in each call."""
  import torch
  from transformers.models.t5.modeling_t5 import T5Attention

  table_RN = torch.zeros(32, shapes.LAYER_N, requires_grad=True)
  distance_TS, unseen_TS = distances(length)
  bucket_TS = T5Attention._relative_position_bucket(-distance_TS, bidirectional=False)
  mask = lambda: table_RN[bucket_TS].permute(2, 0, 1).masked_fill(unseen_TS, -math.inf)[None]
  return [table_RN], mask


def distances(length: int) -> tuple['torch.Tensor', 'torch.Tensor']:
  import torch

  distance_TS = torch.arange(length)[:, None] - torch.arange(length)
  return distance_TS, distance_TS < 0


def generation(name: str) -> Callable[['Subject'], Callable[[], Any]]:
  """Returns a builder of greedy decoding by `generate`, with a cache and a fixed length."""

  def builder(subject):
    import torch

    model = hf_model(name, PROMPT + subject.length).eval()
    prompt_BT = rows(subject.batch, PROMPT)
    options = dict(
      attention_mask=torch.ones_like(prompt_BT), do_sample=False, use_cache=True,
      min_new_tokens=subject.length, max_new_tokens=subject.length,
    )
    return lambda: model.generate(prompt_BT, **options)

  return builder


NANOGPT = step(nanogpt)
LLAMA = step(functools.partial(hf, 'llama'))

BUILDERS = {
  'step': {
    'torch nanoGPT': NANOGPT, 'HF GPT-2': step(functools.partial(hf, 'gpt2')),
    'HF Llama (swiglu)': LLAMA, 'HF T5 decoder': step(t5),
    'HF Bloom': step(functools.partial(hf, 'bloom')), 'x-transformers rope': step(x_transformers),
  },
  'layer': {
    'torch SDPA': sdpa(no_bias), 'torch SDPA, ALiBi mask': sdpa(alibi),
    'torch SDPA, T5 bias': sdpa(t5_bias),
  },
  'decode': {'HF Llama': generation('llama'), 'HF GPT-2': generation('gpt2')},
  'start': {'torch nanoGPT': NANOGPT, 'HF Llama (swiglu)': LLAMA},
}
WITH_BIAS = ('torch SDPA, ALiBi mask', 'torch SDPA, T5 bias')
