"""The shapes that all subjects share."""

V, D, N, H, F, LAYERS = 257, 256, 8, 32, 1024, 6  # the model; letters are those of posjax.dims
STEP_TOKENS = 4096  # of a training step
LAYER_N, LAYER_H = 8, 64  # of an attention layer alone; its batch is 1
PROMPT = 16  # tokens that decoding begins with
START_BATCH = 8
CEILINGS = {  # products of matrices: (rows, summed over, columns)
  'matmul 1024 x 1024 x 1024': (1024, 1024, 1024),
  'matmul 4096 x 256 x 1024': (4096, 256, 1024),
}
