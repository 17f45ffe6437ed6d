"""Keys that have other names than in the first runs: digests and old records keep the old names."""

from typing import Any

# Old key -> {old value: keys and values of today}.
OLD: dict[str, dict[Any, dict[str, Any]]] = {
  'model.norm': {kind: {'model.norm.kind': kind} for kind in ('rmsnorm', 'layernorm')},
  'model.activation': {
    'swiglu': {'model.mlp.gated': True, 'model.mlp.activation': 'silu'},
    'gelu': {'model.mlp.gated': False, 'model.mlp.activation': 'gelu_tanh'},
  },
  'model.tied': {tied: {'model.head.tied': tied} for tied in (True, False)},
}


def to_new(flat: dict[str, Any]) -> dict[str, Any]:
  """Returns a flat config with the names of today; it may have either."""
  found = {key: new for key in flat for new in [OLD.get(key, {}).get(flat[key])] if new}
  kept = {key: value for key, value in flat.items() if key not in found}
  return kept | {key: value for new in found.values() for key, value in new.items()}


def to_old(flat: dict[str, Any]) -> dict[str, Any]:
  """Returns a flat config of today with the old names, where the old values suffice."""
  for key, values in OLD.items():
    for value, new in values.items():
      if new.items() <= flat.items():
        flat = {own: flat[own] for own in flat if own not in new} | {key: value}
  return flat
