"""Settings of sweep: Table 5, the bottlenecks and the baseline tokenizer."""

from __future__ import annotations

from typing import Literal

from braing3n.core.settings import OptimiserSettings, Settings, setting
from braing3n.tokenizer.settings import Bottleneck

Modality = Literal["T1", "T1c", "T2", "FLAIR"]
Budget = Literal["compute", "epochs"]


class AutoencoderKLSettings(Settings):
    """The baseline of the tokenizer: a convolutional autoencoder with a Kullback-Leibler term."""

    channels: tuple[int, ...] = setting(
        (64, 128, 256), "width of each level; every level but the last halves the grid", min_length=1
    )
    latent_channels: int = setting(8, "numbers a place of the coarsest grid", "derived", ge=1)
    n_res_blocks: int = setting(2, "residual blocks a level", ge=1)
    kl_weight: float = setting(1e-7, "of the divergence, summed over the latent, beside the L1", ge=0)
    patience: int = setting(40, "epochs without a better validation loss before stopping", ge=1)
    optimiser: OptimiserSettings = setting(
        lambda: OptimiserSettings(
            batch_size=4,
            n_accumulation_steps=4,
            n_epochs=80,
            weight_decay=0.0,
            n_warmup_epochs=1,
            validate_every_epochs=1,
        ),
        "the baseline's training; a budget replaces n_epochs and changes n_warmup_epochs in proportion",
    )
    seed: int = setting(2025, "weights, data order and the latent's noise")


class SweepProbeSettings(Settings):
    """What is read from the tokens of each arm."""

    tasks: tuple[str, ...] = setting(("idh1", "grade"), "what is probed", "given", min_length=1)
    n_pca_components: int = setting(256, "of the flattened reading, fitted in the fold", ge=1)


class SweepSettings(Settings):
    """Table 5: encoder, tokenizers and AKL from scratch on one volume a person of a few cohorts."""

    cohorts: tuple[str, ...] = setting(
        ("ucsf_pdgm", "upenn_gbm"), "whose people, those that the run has; none: no sweep", "given"
    )
    modality: Modality = setting("T1c", "the one volume a person")
    test: float = setting(0.20, "share of groups that the metrics are of", "given", gt=0, lt=1)
    validation: float = setting(0.05, "share of the other groups, for early stopping", gt=0, lt=1)
    seed: int = setting(2025, "salt of the split's hash")
    d: tuple[Bottleneck, ...] = setting(
        (32, 128, 512, "none"),
        "channels a token of each arm; none: no projection",
        "given",
        is_apart=True,
        min_length=1,
    )
    akl_budgets: tuple[Budget, ...] = setting(
        ("compute", "epochs"),
        "an AutoencoderKL each, with the operations (as the paper) or the epochs of MAE and tokenizer",
        is_apart=True,
    )
    akl: AutoencoderKLSettings = setting(AutoencoderKLSettings, "the baseline tokenizer", is_apart=True)
    probe: SweepProbeSettings = setting(SweepProbeSettings, "probes of the arms' tokens", is_apart=True)
