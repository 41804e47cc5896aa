"""The tables that `control` writes: readings of samples, guidance scales, counterfactuals, diversity."""

from __future__ import annotations

from braing3n.core.contracts import COUNT_COLUMNS, Contract
from braing3n.diffusion.contracts import SAMPLES

_N = (int, (0, 10**7))
READINGS = ("encoder", "latent")
_READ = {
    "condition": (str, ("disease", "sex", "modality", "age", "idh1")),
    "task": (str, None),
    "reading": (str, READINGS),
}

SWEPT = Contract(
    "swept samples",
    {**SAMPLES, "sample_id": (str, None), "guidance": (float, (0, float("inf")))},
)


def _measure(name: str) -> dict:
    """A number with its interval, how many it is of, and the reason where there is none."""
    return {
        **{f"{name}{end}": (float, None) for end in ("", "_low", "_high")},
        f"n_{name}": _N,
        f"{name}_reason": (str, None),
    }


# `real` is the probe's AUC, r or mean age (`metric`) on held-out volumes; `agreement` the share of these
# that is read right, and `ceiling` that of these decoded and encoded again (of ages as `real`); `cond` the
# share of samples that is read as requested; `null` the share of null samples that is read as `null_class`;
# `prior` its share among the volumes that the probe is fitted on. Of ages `null` and `prior` are mean ages
# in years.
CONTROL = Contract(
    "control",
    {
        **_READ,
        "weights": (str, ("", "balanced")),
        "metric": (str, ("auc", "r", "years")),
        **_measure("real"),
        **_measure("agreement"),
        **_measure("ceiling"),
        **_measure("cond"),
        **_measure("null"),
        "null_class": (str, None),
        "prior": (float, None),
        "n_prior": _N,
        "mae_years": (float, (0, 200)),
        "n_people": _N,
        "n_fitted": _N,
        "n_fitted_people": _N,
    },
)

GUIDANCE = Contract(
    "guidance",
    {
        **_READ,
        "guidance": (float, (0, float("inf"))),
        "value": (float, None),
        "low": (float, None),
        "high": (float, None),
        "n_samples": _N,
        "n_arms": _N,
        "reason": (str, None),
    },
)

COUNTERFACTUALS = Contract(
    "counterfactuals",
    {
        "change": (str, None),
        "axiom": (str, ("composition", "reversibility", "effectiveness", "minimality", "realism")),
        "quantity": (str, None),
        "value": (float, None),
        "low": (float, None),
        "high": (float, None),
        "no_change": (float, None),
        **COUNT_COLUMNS,
        "reason": (str, None),
    },
)

JUDGED = Contract(
    "judged",
    {
        "measure": (str, ("age", "modality", "sex", "disease", "diversity")),
        "arm": (str, None),
        "value": (float, (-1, float("inf"))),
        "low": (float, (-1, 1)),
        "high": (float, (-1, 1)),
        "reference": (float, (-1, 1)),
        "n_samples": _N,
        **COUNT_COLUMNS,
        "expected": (str, None),
        "verdict": (str, ("met", "not met", "n/a")),
        "note": (str, None),
    },
)

# Of a rare class with `n_rare` real people; `gain` is over the same learner of these alone, draw by draw.
USEFULNESS = Contract(
    "usefulness",
    {
        "task": (str, None),
        "rare": (str, None),
        "arm": (str, None),
        "n_rare": _N,
        "learner": (str, ("probe", "network")),
        "trained_on": (str, ("real", "synthetic", "both", "both, wrong class")),
        "auc": (float, (0, 1)),
        "low": (float, None),
        "high": (float, None),
        "gain": (float, (-1, 1)),
        "gain_low": (float, None),
        "gain_high": (float, None),
        "n_samples": _N,
        "n_common": _N,
        "n_held_out": _N,
        "n_held_out_people": _N,
        "n_draws": _N,
        "reason": (str, None),
    },
)
