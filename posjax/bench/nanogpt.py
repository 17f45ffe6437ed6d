"""nanoGPT's model in PyTorch: learned positions, fused attention, tied head."""

import torch
from torch import nn
from torch.nn import functional

from posjax.bench.shapes import LAYERS, D, F, H, N, V


class Block(nn.Module):
  def __init__(self):
    super().__init__()
    self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
    self.qkv = nn.Linear(D, 3 * N * H, bias=False)
    self.out = nn.Linear(N * H, D, bias=False)
    self.up, self.down = nn.Linear(D, F, bias=False), nn.Linear(F, D, bias=False)

  def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
    x_BTD = x_BTD + self.out(self.attention(self.norm1(x_BTD)))
    return x_BTD + self.down(functional.gelu(self.up(self.norm2(x_BTD)), approximate='tanh'))

  def attention(self, x_BTD: torch.Tensor) -> torch.Tensor:
    B, T, _ = x_BTD.shape
    q, k, v = self.qkv(x_BTD).view(B, T, 3, N, H).permute(2, 0, 3, 1, 4)
    o_BNTH = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return o_BNTH.transpose(1, 2).reshape(B, T, N * H)


class NanoGPT(nn.Module):
  def __init__(self, length: int) -> None:
    super().__init__()
    self.tokens, self.positions = nn.Embedding(V, D), nn.Embedding(length, D)
    self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
    self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, V, bias=False)
    self.head.weight = self.tokens.weight
    for weight in self.parameters():
      if weight.ndim > 1:
        nn.init.normal_(weight, std=0.02)

  def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
    x_BTD = self.tokens(tokens_BT) + self.positions(torch.arange(tokens_BT.shape[1]))
    return self.head(self.norm(self.blocks(x_BTD)))
