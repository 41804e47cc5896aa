"""The masked autoencoder against its definition, and at the paper's size."""

import itertools
import math
import statistics
from functools import partial

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import Block as TimmBlock
from torch import nn

from braing3n.config import PretrainSettings
from braing3n.core.errors import CheckpointError, ConfigurationError
from braing3n.nets.transformer import Block, encode_positions, encode_short_positions
from braing3n.nets.weights import load_model
from braing3n.pretrain.model import MaskedAutoencoder, patchify, unpatchify
from braing3n.training import write_weights

TINY = PretrainSettings(
    patch_size=4, depth=2, width=24, n_heads=2, decoder_depth=1, decoder_width=12, decoder_n_heads=2
)
SHAPE = (8, 12, 16)  # 2 x 3 x 4 = 24 tokens


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MaskedAutoencoder(TINY, SHAPE)


def reference_loss(model, volume, noise, is_normalised=False):
    """The loss in float64, from its definition: patch by patch, hidden tokens put back in their place."""
    model, errors = model.double(), []
    for image, chance in zip(volume[:, 0].double(), noise, strict=True):
        corners = itertools.product(range(0, 8, 4), range(0, 12, 4), range(0, 16, 4))
        patches = torch.stack([image[i : i + 4, j : j + 4, k : k + 4].flatten() for i, j, k in corners])
        visible = sorted(range(24), key=lambda n: float(chance[n]))[:7]  # 70 % of 24 tokens are hidden: 17
        x = model.embed(patches[visible]) + model.positions[0, visible]
        full = model.mask_token[0].repeat(24, 1)
        full[visible] = model.decoder_embed(model.norm(nn.Sequential(*model.blocks)(x[None])[0]))
        full = nn.Sequential(*model.decoder_blocks)((full + model.decoder_positions[0])[None])[0]
        predicted = model.predict(model.decoder_norm(full))
        target = patches
        if is_normalised:
            target = [
                [(v - statistics.fmean(p)) / math.sqrt(statistics.variance(p) + 1e-6) for v in p]
                for p in patches.tolist()
            ]
            target = torch.tensor(target, dtype=torch.float64)
        errors += [(predicted[n] - target[n]).square().mean() for n in range(24) if n not in visible]
    return sum(errors).item() / len(errors)


def test_norms_are_those_of_the_official_code(model):
    """1e-6 under the root, as in MAE's code; inputs that hardly vary show it."""
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 2 * 3 + 2
    for norm in norms:
        x = 1e-3 * torch.randn(5, norm.normalized_shape[0], dtype=torch.float64)
        variance = x.var(-1, keepdim=True, correction=0)
        expected = (x - x.mean(-1, keepdim=True)) / (variance + 1e-6).sqrt()
        torch.testing.assert_close(norm.double()(x), expected * norm.weight + norm.bias)


@pytest.mark.parametrize("is_normalised", [False, True])
def test_loss_equals_reference(is_normalised):
    """With patches of other means and deviations, one of them empty, which stays a target of 0."""
    torch.manual_seed(1)
    model = MaskedAutoencoder(TINY.model_copy(update={"normalise_target": is_normalised}), SHAPE)
    volume, noise = 3 + 5 * torch.randn(3, 1, *SHAPE), torch.rand(3, 24)
    volume[:, :, :4, :4, :4] = 0
    ours = model(volume, noise).item()
    assert ours == pytest.approx(reference_loss(model, volume, noise, is_normalised), rel=1e-5)


def test_an_offset_is_added_at_each_patchs_own_place():
    """Volumes of the training mean, and a head that predicts 0: nothing is left to predict."""
    model = MaskedAutoencoder(TINY.model_copy(update={"offset": "mean_image"}), SHAPE)
    volume = torch.randn(1, 1, *SHAPE)
    model.mean_image.copy_(patchify(volume, 4))
    nn.init.zeros_(model.predict.weight)
    assert model(volume.expand(5, -1, -1, -1, -1), torch.rand(5, 24)).item() == 0


def test_principal_images_are_added_by_the_scores_that_the_decoder_predicts():
    """The mean and twice the second image, say the scores: volumes like that leave nothing to predict."""
    model = MaskedAutoencoder(TINY.model_copy(update={"offset": "principal_images"}), SHAPE)
    mean, image = torch.randn(1, 1, *SHAPE), torch.randn(1, 1, *SHAPE)
    model.mean_image.copy_(patchify(mean, 4))
    model.principal_images[1] = patchify(image, 4)[0]
    nn.init.zeros_(model.predict.weight)
    noise = torch.rand(5, 24)
    assert model(mean.expand(5, -1, -1, -1, -1), noise).item() == 0, "scores start at 0"
    model.score.bias.data[1] = 2.0
    assert model((mean + 2 * image).expand(5, -1, -1, -1, -1), noise).item() < 1e-10
    assert model((mean - 2 * image).expand(5, -1, -1, -1, -1), noise).item() > 1


@pytest.mark.parametrize("half", ["hidden", "visible"])
def test_scores_are_read_from_hidden_and_from_visible_patches(half):
    """Either half of the score's weights leads to the encoder; the visible half does so without a block."""
    model = MaskedAutoencoder(TINY.model_copy(update={"offset": "principal_images"}), SHAPE)
    nn.init.normal_(model.principal_images)
    nn.init.zeros_(model.predict.weight)
    first, second = model.score.weight.data.chunk(2, dim=1)
    nn.init.normal_(first if half == "hidden" else second)
    model(torch.randn(5, 1, *SHAPE), torch.rand(5, 24)).backward()
    assert model.blocks[0].mlp[0].weight.grad.norm() > 0
    through_blocks = model.decoder_blocks[0].mlp[0].weight.grad.norm()
    assert (through_blocks > 0) == (half == "hidden")


def test_loss_ignores_what_is_visible_only_as_target(model):
    """Only hidden patches are targets: with the prediction fixed at zero the loss is their mean square."""
    torch.nn.init.zeros_(model.predict.weight)
    volume, noise = torch.randn(2, 1, *SHAPE), torch.rand(2, 24)
    patches = patchify(volume, 4)
    is_hidden = noise.argsort(1).argsort(1) >= model.n_visible
    assert model(volume, noise).item() == pytest.approx((patches[is_hidden] ** 2).mean().item(), rel=1e-5)


def test_hidden_patches_do_not_reach_the_encoder(model):
    volume, noise = torch.randn(1, 1, *SHAPE), torch.rand(1, 24)
    visible = noise.argsort(1)[:, : model.n_visible]
    patches = patchify(volume, 4)
    changed = patches.clone()
    changed[0, noise.argsort(1)[0, model.n_visible :]] = 99.0
    assert torch.equal(model.encode_patches(patches, visible), model.encode_patches(changed, visible))


def test_patches_go_back_together():
    volume = torch.arange(2 * 8 * 12 * 16.0).reshape(2, 1, 8, 12, 16)
    patches = patchify(volume, 4)
    assert torch.equal(patches[1, 0], volume[1, 0, :4, :4, :4].flatten())
    assert torch.equal(patches[0, 1], volume[0, 0, :4, :4, 4:8].flatten())  # the last axis runs fastest
    assert torch.equal(unpatchify(patches, (2, 3, 4), 4), volume)


def test_encode_gives_every_token(model):
    assert model.encode(torch.randn(2, 1, *SHAPE)).shape == (2, 24, 24)


def test_positions_are_distinct_and_fill_any_width():
    code = encode_positions((5, 6, 5), 64)
    assert code.shape == (150, 64)
    assert len(np.unique(code.numpy().round(4), axis=0)) == 150
    assert torch.count_nonzero(code[:, 60:]) == 0  # 6 does not divide 64: four channels stay 0


def test_positions_are_sines_and_cosines_of_wavelengths_up_to_ten_thousand():
    """Number by number, as Vaswani et al. 2017 write them, a third of the channels an axis."""
    code = encode_positions((3, 4, 5), 24)
    for n, place in enumerate(itertools.product(range(3), range(4), range(5))):
        expected = []
        for x in place:
            angles = [x / 10000 ** (k / 4) for k in range(4)]
            expected += [*map(math.sin, angles), *map(math.cos, angles)]
        assert code[n].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_short_code_is_centred_and_tells_every_place_from_every_other():
    """On the demo's grid: number by number; and neighbours lie further apart than in the wide code."""
    grid = (5, 6, 5)
    code, places = encode_short_positions(grid, 50).numpy(), list(itertools.product(*map(range, grid)))
    wavelengths = [2.5 * 8 ** (k / 7) for k in range(8)]  # 50 // 6 an axis, up to 20 tokens
    expected = [
        [f(2 * math.pi * x / w) for x in place for f in (math.sin, math.cos) for w in wavelengths]
        for place in places
    ]
    expected = 0.4 * (np.array(expected) - np.mean(expected, axis=0))
    assert np.allclose(code[:, :48], expected, atol=1e-6)
    assert not code[:, 48:].any()
    assert np.allclose(code.mean(0), 0, atol=1e-6)
    wide = encode_positions(grid, 50).numpy()

    def closest(code):
        distances = np.linalg.norm(code[:, None] - code[None], axis=2) / np.linalg.norm(code, axis=1).mean()
        return (distances + 9 * np.eye(150)).min()

    assert closest(code) > 2 * closest(wide)
    model = MaskedAutoencoder(TINY.model_copy(update={"position_code": "short"}), SHAPE)
    assert torch.equal(model.positions[0], encode_short_positions((2, 3, 4), 24))
    assert torch.equal(model.decoder_positions[0], encode_short_positions((2, 3, 4), 12))


def test_paper_size():
    with torch.device("meta"):
        model = MaskedAutoencoder(PretrainSettings(), (160, 192, 160))
        tokens = model.encode(torch.empty(1, 1, 160, 192, 160))
    n_parameters = sum(p.numel() for block in model.blocks for p in block.parameters())
    assert n_parameters == pytest.approx(191.3e6, rel=1e-3)
    assert (model.n_tokens, model.n_visible, tokens.shape) == (1200, 360, (1, 1200, 1152))


def test_shape_that_patches_do_not_divide():
    with pytest.raises(ConfigurationError, match=r"patch_size 4"):
        MaskedAutoencoder(TINY, (8, 12, 15))


def test_weights_come_back(model, tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, model.state_dict(), "MaskedAutoencoder", model.describe())
    volume = torch.randn(1, 1, *SHAPE)
    assert torch.equal(load_model(MaskedAutoencoder, path).encode(volume), model.encode(volume))


def test_wrong_weights_are_one_sentence(model, tmp_path):
    path, state = tmp_path / "w.safetensors", model.state_dict()
    state["extra.weight"] = state.pop("embed.weight")
    write_weights(path, state, "MaskedAutoencoder", model.describe())
    with pytest.raises(CheckpointError, match=r"missing: embed\.weight; unexpected: extra\.weight") as error:
        load_model(MaskedAutoencoder, path)
    assert "\n" not in str(error.value)
    write_weights(path, model.state_dict(), "Tokenizer", {})
    with pytest.raises(CheckpointError, match="holds Tokenizer, not MaskedAutoencoder"):
        load_model(MaskedAutoencoder, path)
    unknown = model.describe() | {"settings": {"depht": 2}}
    write_weights(path, model.state_dict(), "MaskedAutoencoder", unknown)
    with pytest.raises(CheckpointError, match=r"another version .*'depht'; did you mean 'depth'") as error:
        load_model(MaskedAutoencoder, path)
    assert "\n" not in str(error.value)
    torch.save(model.state_dict(), path)  # a pickle is never opened
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_model(MaskedAutoencoder, path)


def test_block_equals_timms_with_the_same_weights():
    """Values and gradients in float64; timm lists the same parameters in the same order."""
    torch.manual_seed(3)
    ours = Block(96, n_heads=4, mlp_ratio=4.0).double()
    norm = partial(nn.LayerNorm, eps=1e-6)
    theirs = TimmBlock(96, num_heads=4, qkv_bias=True, norm_layer=norm).double()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        other.data.copy_(mine.data)
    x, y = (torch.randn(2, 30, 96, dtype=torch.float64, requires_grad=True) for _ in range(2))
    y.data.copy_(x.data)
    weights = torch.randn(2, 30, 96, dtype=torch.float64)
    out, expected = ours(x), theirs(y)
    assert torch.allclose(out, expected, rtol=1e-10, atol=1e-12)
    assert torch.allclose(ours(x, first=11), expected[:, 11:], rtol=1e-10, atol=1e-12)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.allclose(x.grad, y.grad, rtol=1e-10, atol=1e-12)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine.grad, other.grad, rtol=1e-9, atol=1e-12)


def test_filled_in_volumes_keep_what_was_visible(model):
    volume, noise = torch.randn(2, 1, *SHAPE), torch.rand(2, 24)
    masked, filled = model.fill_in(volume, noise)
    is_hidden = (noise.argsort(1).argsort(1) >= model.n_visible)[..., None]
    real, blank, made = (patchify(image, 4) for image in (volume, masked, filled))
    assert torch.equal(blank, real.masked_fill(is_hidden, 0))
    assert torch.equal(made.masked_fill(is_hidden, 0), blank)
    error = ((made - real) ** 2).sum() / (is_hidden.sum() * 64)
    assert error.item() == pytest.approx(model(volume, noise).item(), rel=1e-5)
