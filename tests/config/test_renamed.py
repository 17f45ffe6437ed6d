"""Renamed keys: digests keep the old names, and old records are read."""

import itertools

import pytest

from posjax import config as config_lib
from posjax.config import identity, renamed

OLD = [dict(zip(renamed.OLD, values, strict=True)) for values in itertools.product(
  *renamed.OLD.values()
)]


@pytest.mark.parametrize('old', OLD)
def test_old_keys_have_one_meaning_of_today(old):
  new = renamed.to_new(old)
  assert not new.keys() & old.keys()
  assert renamed.to_new(new) == new
  assert renamed.to_old(new) == old


def test_values_that_the_old_keys_do_not_have_stay():
  new = {'model.mlp.gated': True, 'model.mlp.activation': 'relu', 'model.norm.eps': 1e-5}
  assert renamed.to_old(new) == new


def test_a_record_of_before_is_read_and_has_its_old_name():
  """The name of a run with LayerNorm, GELU and a separate head, as commit d0a2b35 gave it."""
  flags = ('model.norm.kind=layernorm', 'model.mlp.gated=false', 'model.mlp.activation=gelu_tanh',
           'model.head.tied=false')
  config, _, _ = config_lib.load('rope', [f'--config.{flag}' for flag in flags])
  assert identity.run_name(config, 'rope', 'tiny') == 'rope-tiny-62821f77'
  record = config_lib.to_dict(config)
  for key in (
    'norm', 'mlp', 'head', 'embedding', 'biases', 'query_scale', 'layer', 'encoder', 'cross',
  ):
    del record['model'][key]
  record['model'] |= dict(norm='layernorm', activation='gelu', tied=False)
  assert config_lib.from_record(record).model == config.model
  assert identity.difference(record, config) == {}
