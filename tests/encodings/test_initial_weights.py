"""Initial weights of every encoding, as in its paper or its released code."""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import numpy as np
import pytest
from scipy import special, stats

from posjax import encodings
from posjax.dims import Dims, letters
from posjax.encodings import Chain
from posjax.encodings.abacus import Abacus
from posjax.encodings.alibi import Alibi, slopes
from posjax.encodings.bipe import Bipe
from posjax.encodings.cable import Cable
from posjax.encodings.complex_order import ComplexOrder
from posjax.encodings.comrope import Comrope
from posjax.encodings.convolution import Convolution
from posjax.encodings.cope import Cope
from posjax.encodings.dape import Dape
from posjax.encodings.deberta import Deberta
from posjax.encodings.fire import Fire
from posjax.encodings.floater import Floater
from posjax.encodings.fourier import Fourier
from posjax.encodings.fox import Fox
from posjax.encodings.head_scale import HeadScale
from posjax.encodings.kerple import Kerple
from posjax.encodings.learned import Learned
from posjax.encodings.learned_nd import LearnedNd
from posjax.encodings.liere import Liere
from posjax.encodings.log_cpb import LogCpb
from posjax.encodings.mlp_bias import MlpBias
from posjax.encodings.path import Path
from posjax.encodings.path_fox import PathFox
from posjax.encodings.pope import Pope
from posjax.encodings.rope_mixed import RopeMixed
from posjax.encodings.selective_rope import SelectiveRope
from posjax.encodings.shaw import Shaw
from posjax.encodings.sinusoidal import Sinusoidal
from posjax.encodings.ssmax import Ssmax
from posjax.encodings.swin import Swin
from posjax.encodings.t5 import T5
from posjax.encodings.t5_nd import T5Nd
from posjax.encodings.transformer_xl import TransformerXl
from posjax.encodings.tupe import Tupe
from posjax.encodings.wavlm import Wavlm
from tests.conftest import examples, on_each, title
from tests.support import problem

DIMS = Dims(D=64, N=16, K=8, H=32, V=50, L=3)
GRID = dataclasses.replace(DIMS, P=2)
MANY_HEADS = Dims(D=64, N=2048, K=8, H=32, L=3)


class Via(NamedTuple):
  """A weight whose transformed value has the given distribution."""

  distribution: stats.distributions.rv_frozen
  makes: callable


def normal(deviation):
  return stats.norm(scale=deviation)


def uniform(low, high):
  return stats.uniform(low, high - low)


def linear(inputs):
  """PyTorch's default Linear: weights and offsets have the same distribution."""
  return uniform(-(inputs**-0.5), inputs**-0.5)


def glorot(inputs, outputs):
  bound = (6 / (inputs + outputs)) ** 0.5
  return uniform(-bound, bound)


def lecun(inputs):
  """Flax's Dense: a normal truncated at two deviations, rescaled to variance 1 / inputs."""
  unit = stats.truncnorm(-2, 2).std()
  return stats.truncnorm(-2, 2, scale=inputs**-0.5 / unit)


def softplus(raw):
  return np.logaddexp(0, raw)


def exponent(raw):
  return 2 * special.expit(raw)


def direction(theta_LPKC):
  """Returns the angle of the first plane of each layer and head."""
  return np.arctan2(theta_LPKC[:, 1, :, 0], theta_LPKC[:, 0, :, 0])


def norms(weights):
  """Returns the norm of V at each tap, so that W begins as V."""
  return np.sqrt((weights['direction_RHD'] ** 2).sum(axis=(1, 2)))


GATES = {'gate_LDN': normal(0.02), 'gate_bias_LN': 0}
REFLECTIONS = {
  'down_LDR': normal(0.02), 'up_LRKH': normal(0.02), 'beta_LDK': normal(0.02), 'beta_bias_LK': 0,
  'taps_LRKH': normal(3**-0.5),
}
PHASES = {'down_LDR': normal(0.02), 'up_LRKC': normal(0.02), 'taps_LRKC': normal(0.02)}
# The released code clips its draws, rand() * 2 and rand(), at 0.01: arXiv 2205.09921.
R_TO_2, R_TO_1 = (Via(uniform(0.01, high), softplus) for high in (2, 1))
EXPONENT = Via(uniform(0.01, 1.99), exponent)  # rand() * 2, clipped on both sides
NETWORK = {'hidden_LPC': normal(0.02), 'hidden_bias_LC': 0, 'output_LCN': normal(0.02)}
WIDTH = DIMS.N * DIMS.H

# An encoding, {weight: its distribution, a number, or a function of other weights}, sizes.
CASES = [
  # nn.Embedding of the released code, with the deviation of GPT-2's tables.
  (Abacus(), {'table_RD': normal(0.02)}, DIMS),
  (Abacus(stddev=0.5, length=200), {'table_RD': normal(0.5)}, DIMS),
  (Bipe(), {'table_RD': normal(0.02)}, DIMS),
  (Bipe(stddev=0.5), {'table_RD': normal(0.5)}, DIMS),
  (Learned(), {'table_RD': normal(0.02)}, DIMS),  # GPT-2
  (Learned(stddev=0.5, offset=2), {'table_RD': normal(0.5)}, DIMS),
  # timm; big_vision has D^-0.5.
  (LearnedNd((9, 8)), {'table_RD': normal(0.02)}, GRID),
  (
    LearnedNd((9, 8), factorized=True, stddev=0.125),
    {'axis_0_RD': normal(0.125), 'axis_1_RD': normal(0.125)}, GRID,
  ),
  # x-transformers: the logarithms of the fixed slopes.
  (Alibi(learned='apart', factor=2.0), {'log_slope_RN': np.log(2 * slopes(DIMS.N))}, DIMS),
  (Cable(), GATES, DIMS),
  (Fox(), GATES, DIMS),
  (Fox(bias=2.5), GATES | {'gate_bias_LN': 2.5}, DIMS),
  # base^(-2 floor(k/2) / (D/2)), the same for all words: arXiv 1912.12333.
  (ComplexOrder(), {'omega_VC': 10_000 ** (-2 * (np.arange(32) // 2) / 32)}, DIMS),
  (ComplexOrder(shared=True), {'omega_C': 10_000 ** (-2 * (np.arange(32) // 2) / 32)}, DIMS),
  # wav2vec 2.0: deviation 2 / sqrt(kernel D), then weight normalization.
  (
    Convolution(kernel=16, groups=4),
    {'direction_RHD': normal(2 / (16 * 64) ** 0.5), 'gain_R': norms, 'bias_D': 0}, DIMS,
  ),
  (Cope(), {'table_LHR': 0}, DIMS),  # zeros, as the paper's listing
  # Two Linears of the released code; the halves of the first are for logits and biases.
  (
    Dape(base='alibi', width=256),
    {
      'scores_LNR': linear(2 * 16), 'biases_LNR': linear(2 * 16), 'hidden_bias_LR': linear(2 * 16),
      'output_LRN': linear(256), 'output_bias_LN': linear(256),
    },
    DIMS,
  ),
  (
    Dape(base='kerple', width=2),
    {
      'scores_LNR': linear(2 * 2048), 'biases_LNR': linear(2 * 2048),
      'hidden_bias_LR': linear(2 * 2048), 'output_LRN': linear(2), 'output_bias_LN': linear(2),
      'static/r1_N': R_TO_2, 'static/r2_N': R_TO_1,
    },
    MANY_HEADS,
  ),
  # initializer_range of BERT and its like.
  (
    Deberta(max_distance=64),
    {
      'table_RD': normal(0.02), 'key_LDKH': normal(0.02), 'query_LDNH': normal(0.02),
      'query_bias_LNH': 0,
    },
    DIMS,
  ),
  # Linear(1, width) and Linear(width, heads), c 0.1 and a multiplier of 1: arXiv 2310.04418.
  (
    Fire(width=256),
    {
      'first_LR': linear(1), 'first_bias_LR': linear(1), 'second_LRN': linear(256),
      'second_bias_LN': linear(256), 'c_L': 0.1, 'multiplier_L': 1,
    },
    DIMS,
  ),
  (
    Fire(width=2, shared=True),
    {
      'first_R': linear(1), 'first_bias_R': linear(1), 'second_RN': linear(2),
      'second_bias_N': linear(2), 'c': 0.1, 'multiplier': 1,
    },
    MANY_HEADS,
  ),
  # Xavier's of [d, d + 1], and of starts that are one array [3, L, d] in the released code.
  (
    Floater(),
    {
      'first_RH': normal((2 / (2 * WIDTH + 1)) ** 0.5), 'first_bias_H': 0,
      'second_RH': normal((2 / (2 * WIDTH + 1)) ** 0.5), 'second_bias_H': 0,
      'start_LPH': glorot(3 * WIDTH, 5 * WIDTH),
    },
    dataclasses.replace(DIMS, L=5),
  ),
  # Frequencies of variance gamma^-2: arXiv 2106.02795; the network is Flax's Dense.
  (
    Fourier(size=512, gamma=5.0),
    {
      'frequency_R': normal(1 / 5), 'first_RC': lecun(512), 'first_bias_C': 0,
      'second_CD': lecun(64), 'second_bias_D': 0,
    },
    DIMS,
  ),
  (HeadScale(start=1.25), {'scale_LN': 1.25}, DIMS),
  (Kerple(), {'r1_N': R_TO_2, 'r2_N': R_TO_1}, MANY_HEADS),
  (Kerple(kernel='power'), {'r1_N': R_TO_1, 'r2_N': EXPONENT}, MANY_HEADS),
  (Kerple(kernel='log3'), {'r1_N': R_TO_2, 'r2_N': R_TO_1, 'r3_N': EXPONENT}, MANY_HEADS),
  (
    Kerple(kernel='weighted'),
    {'r1_N': R_TO_1, 'r2_N': EXPONENT, 'r3_N': R_TO_1, 'r4_N': EXPONENT}, MANY_HEADS,
  ),
  # Linears of x-transformers, and LayerNorms.
  (
    MlpBias(width=128, depth=3, norm=True),
    {
      'input_R': linear(1), 'bias0_R': linear(1), 'hidden1_RC': linear(128),
      'bias1_R': linear(128), 'hidden2_RC': linear(128), 'bias2_R': linear(128),
      'output_RN': linear(128), 'output_bias_N': linear(128),
      'gain0_R': 1, 'gain1_R': 1, 'gain2_R': 1, 'shift1_R': 0, 'shift2_R': 0,
    },
    dataclasses.replace(DIMS, N=256),
  ),
  # initializer_range of the released layer.
  (Path(), REFLECTIONS, DIMS),
  (
    PathFox(bias=1.5), REFLECTIONS | {'fox/gate_LDN': normal(0.02), 'fox/gate_bias_LN': 1.5}, DIMS,
  ),
  (Pope(), {'delta_LKH': 0}, DIMS),
  (Pope(uniform_delta=True), {'delta_LKH': uniform(-2 * math.pi, 0)}, DIMS),
  (SelectiveRope(), PHASES, DIMS),
  (
    SelectiveRope(bias=True, gate=True),
    PHASES | {'bias_LKC': 0, 'gate_LDK': normal(0.02), 'gate_bias_LK': 0}, DIMS,
  ),
  # A random angle for each head and layer of the released code: arXiv 2403.13298.
  (
    RopeMixed(), {'theta_LPKC': Via(uniform(-math.pi, math.pi), direction)},
    dataclasses.replace(GRID, K=16, L=32),
  ),
  (Liere(), {'generator_LPKCR': uniform(0, 2 * math.pi)}, GRID),  # rand() * 2 pi
  # A - A^T and the multipliers of the released code, of N(0, 1).
  (Comrope(), {'generator_LKCR': normal(2**0.5), 'theta_LPC': normal(1)}, GRID),
  (Comrope(kind='ap', deviation=0.5), {'generator_LKCR': normal(0.5**0.5)}, GRID),
  # Xavier's, of each layer's table: tensor2tensor.
  (Shaw(clip=64), {'keys_LRH': glorot(129, 32), 'values_LRH': glorot(129, 32)}, DIMS),
  # Tables and Linears of N(0, 0.02), and factors of 10: Swin and Swin V2.
  (Swin((9, 8), class_rows=True), {'table_LRN': normal(0.02)}, GRID),
  (LogCpb(), NETWORK, GRID),
  (LogCpb(cosine=True), NETWORK | {'log_factor_LN': math.log(10)}, GRID),
  (LogCpb(form='cr'), NETWORK | {'output_bias_LN': 0}, GRID),
  (Sinusoidal(scaled=True), {'scale': 1 / 8}, DIMS),  # D^-0.5 in x-transformers
  (Ssmax(bias=True), {'scale_LN': 0.43, 'bias_LN': 0}, DIMS),
  (T5(), {'table_RN': normal(1 / 8)}, MANY_HEADS),  # D^-0.5 in mesh TensorFlow and Hugging Face
  (T5Nd(), {'table_PRN': normal(1 / 8)}, dataclasses.replace(MANY_HEADS, P=2)),
  # normal(0.02) of the released code.
  (
    TransformerXl(),
    {'position_LDNH': normal(0.02), 'u_NH': normal(0.02), 'v_NH': normal(0.02)}, DIMS,
  ),
  (
    TransformerXl(untied=True),
    {'position_LDNH': normal(0.02), 'u_LNH': normal(0.02), 'v_LNH': normal(0.02)}, DIMS,
  ),
  # The released code normalizes the table, to variance 1; the other weights are BERT's.
  (
    Tupe(buckets=32, untie_first=True),
    {
      'table_RD': normal(1), 'query_DNH': normal(0.02), 'key_DNH': normal(0.02), 'theta_N': 0,
      'relative/table_RN': normal(1 / 8),
    },
    DIMS,
  ),
  # T5's table, a Linear, and ones: the modules of the released code. (The released model is then
  # redrawn like BERT: N(0, 0.02), offsets of 0.)
  (
    Wavlm(buckets=64),
    {
      'table_RN': normal(0.02), 'gate_LRH': normal(0.02), 'gate_bias_LR': 0, 'constant_LN': 1,
    },
    Dims(D=512, N=16, K=8, H=32, L=200),
  ),
]


def flat(tree):
  return {
    '/'.join(key.key for key in path): np.float64(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def check_draws(x, distribution):
  """Asserts mean and deviation within five standard errors, and the shape of the distribution."""
  n, (mean, variance, kurtosis) = x.size, distribution.stats('mvk')
  assert abs(x.mean() - mean) < 5 * (variance / n) ** 0.5
  assert abs(x.std() / variance**0.5 - 1) < 5 * ((kurtosis + 2) / (4 * n)) ** 0.5
  assert stats.kstest(x.ravel(), distribution.cdf).pvalue > 1e-4


def check_layers(x_LR):
  """Layers are drawn independently."""
  x_LR = x_LR[:3].reshape(3, -1)
  assert np.abs(np.corrcoef(x_LR) - np.eye(3)).max() < 5 / x_LR.shape[1] ** 0.5


@pytest.mark.parametrize('case', CASES, ids=lambda case: title(case[0]))
def test_initial_weights_are_as_released(case):
  encoding, expected, dims = case
  weights = flat(encoding.with_dims(dims).init_weights(jax.random.key(0)))
  assert weights.keys() == expected.keys()
  for name, source in expected.items():
    x = weights[name]
    if isinstance(source, Via):
      check_draws(source.makes(x), source.distribution)
    elif isinstance(source, stats.distributions.rv_frozen):
      check_draws(x, source)
      if letters(name).startswith('L'):
        check_layers(x)
    else:
      want = source(weights) if callable(source) else source
      np.testing.assert_allclose(x, np.broadcast_to(want, x.shape), rtol=1e-6)


@functools.cache
def listed():
  """Returns the weights in the table above, by encoding."""
  found = {}
  for encoding, expected, _ in CASES:
    found.setdefault(type(encoding), set()).update(name.partition('/')[0] for name in expected)
  return found


@pytest.mark.parametrize('name', encodings.names())
def test_all_weights_are_listed(name):
  for encoding in (own for example in examples(name) for own in on_each(example)):
    dims = problem.dims_of(encoding)
    for part in encoding.parts if isinstance(encoding, Chain) else (encoding,):
      weights = jax.eval_shape(part.with_dims(dims).init_weights, jax.random.key(0))
      assert {*weights} <= listed().get(type(part), set())
