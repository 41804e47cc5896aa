"""The audit's summary, as the paper prints it: distances, ratios of means, counts and expected counts."""

from __future__ import annotations

import pandas as pd
from scipy.stats import betabinom

from braing3n.memorization.contracts import COMPARISONS

DUPLICATE_SHARE = 0.1  # of the median distance to the nearest other person


def summarise_audit(table: pd.DataFrame) -> pd.DataFrame:
    """One row a pool: numbers, mean distances, ratio of means, and items below the threshold.

    `n_below_expected` is how many of as many held-out people as there are samples would lie below it, and
    `n_below_low` and `n_below_high` bound 95 % of what such a draw gives: see `expect_below`.
    """
    rows = []
    for pool, group in table.groupby("pool", sort=False):
        row = {"pool": pool, **group[["threshold", "percentile"]].iloc[0]}
        for comparison in COMPARISONS:
            distances = group.loc[group["comparison"] == comparison]
            name = comparison.replace("-", "_")
            row[f"n_{name}"] = len(distances)
            row[f"mean_{name}"] = distances["distance"].mean()
            row[f"median_{name}"] = distances["distance"].median()
            row[f"min_{name}"] = distances["distance"].min()
            row[f"max_{name}"] = distances["distance"].max()
            row[f"n_below_{name}"] = int(distances["is_below_threshold"].sum())
        row["ratio"] = row["mean_synthetic_real"] / row["mean_real_real"]
        row["ratio_held_out"] = row["mean_held_out_real"] / row["mean_real_real"]
        real = group[group["comparison"] == "real-real"].drop_duplicates("person_id")
        for name, comparison in (("n_duplicates", "real-real"), ("n_identical", "synthetic-real")):
            distances = group.loc[group["comparison"] == comparison, "distance"]
            row[name] = count_duplicates(distances, row["median_real_real"])
        row["n_people_of_shared_groups"] = int(real["group_id"].duplicated(keep=False).sum())
        held_out = group[group["comparison"] == "held-out-real"]
        rows.append(row | expect_below(held_out, row["n_synthetic_real"]))
    return pd.DataFrame(rows)


def count_duplicates(distances: pd.Series, median_real: float) -> int:
    """How many distances are less than a tenth of the median between nearest people: one image twice."""
    return int((distances < DUPLICATE_SHARE * median_real).sum())


def expect_below(held_out: pd.DataFrame, n_samples: int) -> dict[str, float]:
    """How many of `n_samples` would lie below the threshold if they did so as held-out people do.

    A person with several volumes counts once, with the share of them that lies below. The interval is that of
    the beta-binomial law (Jeffreys prior): it holds the chance in the samples and in the few held-out people.
    """
    share = held_out.groupby("person_id")["is_below_threshold"].mean()
    n_people, n_below = len(share), float(share.sum())
    expected = low = high = float("nan")
    if n_people:
        expected = n_samples * n_below / n_people
        low, high = betabinom.ppf([0.025, 0.975], n_samples, n_below + 0.5, n_people - n_below + 0.5)
    numbers = {"n_below_expected": expected, "n_below_low": low, "n_below_high": high}
    return {"n_held_out_people": n_people, **numbers}
