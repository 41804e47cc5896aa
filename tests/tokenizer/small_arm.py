"""The sizes of a small MAE and tokenizer, shared by the tests of what an arm costs."""

from braing3n.config import OptimiserSettings, PretrainSettings, TokenizerSettings

SIZES = PretrainSettings(
    patch_size=4,
    depth=1,
    width=12,
    n_heads=2,
    decoder_depth=1,
    decoder_width=12,
    decoder_n_heads=2,
    optimiser=OptimiserSettings(n_epochs=500),
)
TOKENIZER = TokenizerSettings(
    d=3,
    widths=(8, 4),
    n_blocks=1,
    has_attention=False,
    optimiser=OptimiserSettings(n_epochs=300),
)
