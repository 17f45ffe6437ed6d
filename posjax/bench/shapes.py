"""Shapes shared by all subjects."""

V, D, N, H, F, LAYERS = 257, 256, 8, 32, 1024, 6  # the model; letters are those of posjax.dims
STEP_TOKENS = 4096  # tokens of a training step
LAYER_N, LAYER_H = 8, 64  # of a single attention layer, with batch 1
PROMPT = 16  # prompt tokens before decoding
START_BATCH = 8
CEILINGS = {  # products of matrices: (rows, summed over, columns)
  'matmul 1024 x 1024 x 1024': (1024, 1024, 1024),
  'matmul 4096 x 256 x 1024': (4096, 256, 1024),
}
