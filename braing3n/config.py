"""The typed configuration: every setting with its default, unit, meaning and provenance."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Field, model_validator

from braing3n.config_fit import find_misfit
from braing3n.core.errors import ConfigurationError
from braing3n.core.settings import OptimiserSettings, Settings, setting, validate
from braing3n.sweep.settings import AutoencoderKLSettings, Bottleneck, SweepSettings

Precision = Literal["float32", "bfloat16"]
Crop = Literal["centre", "atlas_centred"]
Times = Literal["uniform", "logit_normal"]
GuidanceForm = Literal["joint", "per_condition"]
Extractor = Literal["hd-bet", "hd-bet-v1", "deepbet", "none"]


class CohortSettings(Settings):
    """Where one cohort's download lies, and how it is cut into shards."""

    kind: str = setting("", "file in cohorts/ that reads it; empty: the file named as the cohort")
    raw_dir: str = setting("", "folder of the download, relative to the working directory")
    n_shards: int = setting(1, "shards of subjects; about 50 subjects each", ge=1)
    options: dict[str, bool | str | list[str]] = setting(
        dict, "switches of the cohort's file, where its description leaves a choice"
    )
    miniature: dict[str, int | float | str] = setting(
        dict, "options of the cohort's miniature; where given, it is written and read instead of raw_dir"
    )

    @model_validator(mode="after")
    def _has_one_source(self):
        if not re.fullmatch("[a-z0-9_]*", self.kind):
            raise ValueError(f"kind is the name of a file in cohorts/, such as bids, not {self.kind!r}")
        if bool(self.raw_dir) == bool(self.miniature):
            raise ValueError("give either raw_dir (a download) or miniature (options of phantoms)")
        return self


class ResourceSettings(Settings):
    """Local files that win over fetched ones."""

    paths: dict[str, str] = setting(dict, "resource name -> local path; wins over fetching")
    sha256: dict[str, str] = setting(
        dict, "resource name -> digest that the local path must have; none: it is not checked"
    )


class PreprocessSettings(Settings):
    """From a raw head to a brain in SRI24."""

    spacing_mm: float = setting(1.0, "voxel size of the SRI24 grid", "given", "mm", gt=0)
    brain_extraction: Extractor = setting(
        "hd-bet-v1", "how brains are found; input that is stripped already keeps its own"
    )
    fallback_extraction: Extractor = setting(
        "deepbet", "tried once where a mask fails its checks (volume, pieces, border); none: nothing else is"
    )
    n_hd_bet_folds: int = setting(1, "HD-BET v1 networks averaged", ge=1, le=5)
    n_deepbet_networks: int = setting(
        2,
        "1: the brain as deepbet's first network sees it at 128^3; 2: found again by its second at 256^3",
        ge=1,
        le=2,
    )
    use_hd_bet_mirroring: bool = setting(False, "test-time mirroring of both HD-BETs, over eight flips")
    n4_spacing_mm: float = setting(7.0, "N4 fits the field on voxels about so far apart", unit="mm", gt=0)
    n4_iterations: tuple[int, ...] = setting((50, 50, 50, 50), "N4 iterations a level, at most")
    n4_tolerance: float = setting(1e-3, "a level of N4 ends when the field changes by less", gt=0)
    affine: Literal["staged", "Affine"] = setting(
        "staged", "ANTs' 12 parameters: in sparse stages down to 2 mm, or ANTs' own slow default"
    )
    interpolation: Literal["bSpline", "linear"] = setting("bSpline", "resampling; negatives are clipped")
    brain_ml: tuple[float, float] = setting((400.0, 2500.0), "a brain outside is an exclusion", unit="ml")
    min_atlas_dice: float = setting(0.70, "a centre that overlaps SRI24 less is an exclusion", ge=0, le=1)
    min_coverage: float = setting(
        0.80, "a scan that shows less of SRI24's brain, or its visit's, is an exclusion", ge=0, le=1
    )
    min_atlas_information: float = setting(
        0.03, "a volume that shares less mutual information with SRI24 shows no brain", unit="nat", ge=0
    )
    min_centre_information: float = setting(
        0.1, "a companion that shares less with its visit's centre is registered wrongly", unit="nat", ge=0
    )
    max_negative_share: float = setting(
        0.01, "of a brain's voxels; with more negatives it is taken for z-scored", ge=0, le=1
    )
    negative_policy: Literal["shift", "exclude"] = setting(
        "shift", "what becomes of a brain with more negatives; fewer are clipped to 0"
    )
    max_failure_rate: float = setting(0.5, "a shard stops above this share of failed visits", ge=0, le=1)
    seed: int = setting(2025, "ANTs' random seed, the same for every subject")


class ManifestSettings(Settings):
    """Splits by group_id, and what each cohort is expected to hold."""

    train: float = setting(0.90, "share of groups that models train on", gt=0, lt=1)
    validation: float = setting(0.05, "share of groups for early stopping", gt=0, lt=1)
    seed: int = setting(2025, "salt of the split's hash")
    near_duplicate_correlation: float = setting(
        0.6, "at 4 mm, from which two people's volumes count as one brain", gt=0, le=1
    )
    review: str = setting(
        "", "TSV of what a person decided: volume_id, decision (keep, drop), reason; empty: no review"
    )
    max_outlier_score: float = setting(
        0.0,
        "volumes further off their cohort's median in a quality number are exclusions unless the review "
        "keeps them; 0: no volume is",
        unit="robust deviations",
        ge=0,
    )
    count_tolerance: float = setting(
        0.05,
        "volumes or people of a cohort off the expected number by more are a warning",
        unit="share of the expected",
        ge=0,
    )


class VolumesSettings(Settings):
    """What a model sees."""

    spacing_mm: float = setting(1.0, "a whole multiple of preprocess.spacing_mm", "given", "mm", gt=0)
    shape: tuple[int, int, int] = setting((160, 192, 160), "crop or pad, L-P-S", "derived", "voxel")
    crop: Crop = setting(
        "centre", "about the middle of SRI24's grid, or of the box of its brain, which lies off that"
    )


def given_weights() -> str:
    """The setting of weights that somebody has; nothing that is made depends on where they lie."""
    return setting("", "weight file to start from in place of training; empty: train", exclude=True)


class PretrainSettings(Settings):
    """The masked autoencoder (phase 1)."""

    patch_size: int = setting(16, "edge of a patch", "given", "voxel", ge=1)
    depth: int = setting(12, "encoder layers", "given", ge=1)
    width: int = setting(1152, "encoder width", "given", ge=6)
    n_heads: int = setting(16, "encoder heads", "given", ge=1)
    mlp_ratio: float = setting(4.0, "MLP width over encoder width", gt=0)
    decoder_depth: int = setting(8, "decoder layers", "given", ge=1)
    decoder_width: int = setting(1152, "decoder width, divisible by 6", ge=6)
    decoder_n_heads: int = setting(16, "decoder heads", "given", ge=1)
    mask_ratio: float = setting(0.70, "share of patches hidden", "given", gt=0, lt=1)
    normalise_target: bool = setting(False, "per-patch normalised target")
    encoder_lr_scale: float = setting(1.0, "learning rate of the encoder over that of the decoder", gt=0)
    position_code: Literal["wide", "short"] = setting(
        "wide", "sines and cosines from 6.3 tokens to far beyond a grid; short: from 2.5 to 20, centred"
    )
    offset: Literal["none", "mean_image"] = setting(
        "none", "what predictions are added to: nothing, or the training volumes' mean patch of each place"
    )
    optimiser: OptimiserSettings = setting(
        OptimiserSettings, "phase 1 training", given=("n_epochs", "schedule")
    )
    seed: int = setting(2025, "weights, masks and data order")
    weights: str = given_weights()


class TokenizerSettings(Settings):
    """Projection and CNN decoder (phase 2)."""

    ASIDE: ClassVar[tuple[str, ...]] = ("akl", "sweep")  # sections of others, of which it does not depend

    d: Bottleneck = setting(32, "channels a token; none: no projection, the encoder's own", "given")
    widths: tuple[int, ...] = setting(
        (512, 288, 160, 64),
        "decoder channels, one a doubling, from the token grid up: 43.6 M parameters",
        min_length=1,
    )
    n_blocks: int = setting(2, "residual blocks a level", ge=1)
    has_attention: bool = setting(True, "attention at the token grid", "given")
    has_patch_head: bool = setting(
        True, "a linear map from token to patch, first of least squares, whose image is added to the CNN's"
    )
    loss: Literal["l1", "l2"] = setting(
        "l1", "mean absolute or squared error of a voxel; l1 gives up what is rare and hard to place"
    )
    patience: int = setting(40, "epochs without a better validation loss before stopping", "given", ge=1)
    optimiser: OptimiserSettings = setting(
        lambda: OptimiserSettings(
            batch_size=64, n_epochs=80, weight_decay=0.0, n_warmup_epochs=1, validate_every_epochs=1
        ),
        "phase 2 training",
        given=("n_epochs", "precision"),
    )
    sweep: SweepSettings = setting(SweepSettings, "Table 5, in the runs that have its cohorts")
    seed: int = setting(2025, "weights and data order")
    weights: str = given_weights()
    akl: AutoencoderKLSettings = setting(AutoencoderKLSettings, "the baseline beside it (Table 5)")

    def with_d(self, d: str) -> TokenizerSettings:
        """The same settings at another bottleneck, as text."""
        return TokenizerSettings.model_validate(self.model_dump(mode="json") | {"d": d})


class LatentsSettings(Settings):
    """Caching tokens and pooled features."""

    batch_size: int = setting(16, "volumes encoded at once", ge=1)
    precision: Precision = setting("float32", "autocast type of encoding")
    encoders: tuple[
        Literal["mae", "untrained", "untrained_flattened", "patches", "voxels", "histogram"], ...
    ] = setting(
        ("mae", "untrained", "patches", "voxels", "histogram"),
        "whose features are probed; mae is ours; untrained_flattened is for small runs",
    )


class DiffusionSettings(Settings):
    """The conditional flow-matching DiT and its samples."""

    depth: int = setting(12, "blocks", "given", ge=1)
    width: int = setting(1024, "hidden width", ge=6)
    n_heads: int = setting(16, "heads", ge=1)
    mlp_ratio: float = setting(4.0, "MLP width over hidden width", gt=0)
    position_code: Literal["wide", "short"] = setting(
        "wide", "sines and cosines from 6.3 tokens to far beyond a grid; short: from 2.5 to 20, centred"
    )
    diseases: tuple[str, ...] = setting(
        ("HC", "MCI", "AD", "PD", "ASD", "SCZ", "GBM", "Glioma"),
        "classes of the disease condition",
    )
    n_sites: int = setting(19, "most frequent sites of the training split", "given", ge=1)
    condition_dropout: float = setting(0.1, "each droppable condition on its own", ge=0, lt=1)
    joint_dropout: float = setting(0.1, "all droppable conditions at once", ge=0, lt=1)
    modality_balance: float = setting(
        0.0, "what a volume weighs in the loss: its modality's number to the power of minus this", ge=0, le=1
    )
    times: Times = setting("uniform", "how times are drawn in training; logit_normal: more in the middle")
    time_shift: float = setting(
        1.0, "training and sampling spend so many times more on times near the noise; 1: evenly", gt=0
    )
    guidance: float = setting(2.0, "classifier-free guidance scale w", ge=0)
    guidance_form: GuidanceForm = setting(
        "joint", "v(null) + w (v(c) - v(null)), or v(null) + the sum over conditions of w (v(c_k) - v(null))"
    )
    n_sampling_steps: int = setting(50, "Euler steps", "given", ge=1)
    n_samples: int = setting(64, "samples an arm", "given", ge=1)
    precision: Precision = setting("bfloat16", "autocast type of sampling")
    ema_decay: float = setting(0.9999, "ceiling of min(decay, (1 + n) / (10 + n))", gt=0, lt=1)
    optimiser: OptimiserSettings = setting(
        lambda: OptimiserSettings(n_epochs=400, weight_decay=0.01, gradient_clip=1.0, betas=(0.9, 0.999)),
        "DiT training",
        given=("precision",),
    )
    seed: int = setting(2025, "weights, data order and sampling noise")
    weights: str = given_weights()


class ProbeSettings(Settings):
    """Linear probes on frozen features."""

    n_folds: int = setting(5, "person-level folds", "given", ge=2)
    seed: int = setting(2025, "folds, halves and permutations", "given")
    max_iter: int = setting(1000, "logistic regression", "given", ge=1)
    ridge_alpha: float = setting(1.0, "ridge penalty", gt=0)
    n_pca_components: int = setting(64, "components of the voxel PCA, fitted in the fold", ge=1)
    n_halvings: int = setting(10, "deals of people into halves behind an interval", ge=3)
    n_random_labels: int = setting(0, "random labels probed as a control; 0: none", ge=0)
    n_permutations: int = setting(200, "permutations behind a site-matched AUC", ge=20)
    n_matched_repeats: int = setting(20, "deals of folds behind a site-matched AUC", ge=1)
    columns: dict[str, Literal["classification", "regression"]] = setting(
        dict, "columns of participants.tsv, or of the label table, that are probed beside the paper's tasks"
    )
    min_class_people: int = setting(5, "classes with fewer people are dropped and named", ge=2)


class FidelitySettings(Settings):
    """Distances between generated and real sets."""

    min_people: int = setting(
        4,
        "real people that a distance needs; an arm with fewer is n/a, and where fewer are left its floor",
        ge=2,
    )
    age_window_years: float = setting(5.0, "real people this near to the age of an arm", unit="year", gt=0)
    n_real: int = setting(
        256, "real people an arm's samples are held against, at most; those of its floor come on top", ge=2
    )
    n_draws: int = setting(100, "draws of real people behind a distance and its floor", ge=1)
    batch_size: int = setting(8, "volumes decoded and encoded at once", ge=1)
    precision: Precision = setting(
        "float32", "autocast type of decoding and encoding; that of latents, whose features are compared"
    )
    seed: int = setting(2025, "who is drawn")


class MemorizationSettings(Settings):
    """The nearest-neighbour audit."""

    percentile: float = setting(1.0, "percentile of real-real distances that flags a copy", gt=0, lt=100)


class Config(Settings):
    """One run: what goes in, how each stage is set."""

    run: str = setting("full", "name of the results folder", pattern=r"^[a-z][a-z0-9_]*$")
    cohorts: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], CohortSettings] = setting(
        dict, "cohort key -> where it lies"
    )
    resources: ResourceSettings = setting(ResourceSettings, "atlas, templates and weights")
    preprocess: PreprocessSettings = setting(PreprocessSettings, "raw scans to SRI24")
    manifest: ManifestSettings = setting(ManifestSettings, "splits, and found against expected")
    volumes: VolumesSettings = setting(VolumesSettings, "model-ready arrays")
    pretrain: PretrainSettings = setting(PretrainSettings, "MAE encoder")
    tokenizer: TokenizerSettings = setting(TokenizerSettings, "projection and CNN decoder")
    latents: LatentsSettings = setting(LatentsSettings, "cached tokens and features")
    diffusion: DiffusionSettings = setting(DiffusionSettings, "conditional DiT")
    probe: ProbeSettings = setting(ProbeSettings, "linear probes")
    fidelity: FidelitySettings = setting(FidelitySettings, "Fréchet distances")
    memorization: MemorizationSettings = setting(MemorizationSettings, "nearest-neighbour audit")

    @property
    def sweep_cohorts(self) -> list[str]:
        """The cohorts of the sweep over d that this run has; none: it has no sweep."""
        return [name for name in self.tokenizer.sweep.cohorts if name in self.cohorts]

    @property
    def sweep_arms(self) -> list[str]:
        """What the sweep trains: d-32, akl-compute and the like."""
        sweep = self.tokenizer.sweep
        arms = [f"d-{d}" for d in sweep.d] + [f"akl-{budget}" for budget in sweep.akl_budgets]
        return arms if self.sweep_cohorts else []

    @model_validator(mode="after")
    def _fits_together(self):
        if fault := find_misfit(self):
            raise ValueError(fault)
        return self


def load_config(path: str | Path) -> Config:
    """Read a YAML file of what differs from the paper; a fault is one sentence."""
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]}).") from None
    return parse_config(data, str(path))


def parse_config(data: Any, where: str = "configuration") -> Config:
    """Check a mapping against the models.

    Raises:
        ConfigurationError: one sentence that names the key, and the key that was probably meant.
    """
    if isinstance(data, dict):
        data = _merge(Config().model_dump(mode="json"), data)
    return validate(Config, data, where)


def _merge(defaults: dict, data: dict) -> dict:
    """The defaults with what differs, section by section, as Snakemake merges configuration files."""
    merged = defaults | data
    for key in defaults.keys() & data.keys():
        if isinstance(defaults[key], dict) and isinstance(data[key], dict):
            merged[key] = _merge(defaults[key], data[key])
    return merged


def parse_section(model: type[Settings], text: str) -> Any:
    """A section from JSON text (as rules pass it), or from a YAML configuration's path.

    From a path, the section is the field of `Config`, or of one of its sections, that has this type.
    """
    if text.lstrip().startswith("{"):
        try:
            return validate(model, json.loads(text), "--settings")
        except json.JSONDecodeError as error:
            raise ConfigurationError(f"--settings: not valid JSON ({error}).") from None
    config = load_config(text)
    sections = [config, *(getattr(config, name) for name in Config.model_fields)]
    parts = [part for section in sections if isinstance(section, Settings) for _, part in section]
    found = [part for part in parts if type(part) is model]
    if len(found) == 1:
        return found[0]
    raise ConfigurationError(f"{text}: has no one section for {model.__name__}.")
