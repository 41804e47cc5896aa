"""The volumes of the sweep over d: one a person of a few cohorts, with a split of their own."""

from __future__ import annotations

import pandas as pd

from braing3n.core.contracts import SPLITS
from braing3n.core.errors import ConfigurationError
from braing3n.manifest.people import deal_split
from braing3n.sweep.settings import SweepSettings


def choose_volumes(volumes: pd.DataFrame, settings: SweepSettings) -> pd.DataFrame:
    """The rows of a volume list that the sweep is made of; `split` is the sweep's own.

    Of each person the first volume of the modality, by cohort, session and run. No label is read, and the
    split is a function of group_id alone, as the whole corpus's is, but by another hash: the corpus
    leaves 5 % for its test, the sweep 20 %.

    Raises:
        ConfigurationError: a split is empty.
    """
    is_chosen = volumes["cohort"].isin(settings.cohorts) & (volumes["modality"] == settings.modality)
    order = ["person_id", "cohort", "session_id", "run", "volume_id"]
    chosen = volumes[is_chosen].sort_values(order, kind="stable").drop_duplicates("person_id")
    chosen = chosen.sort_values("volume_id", kind="stable").reset_index(drop=True)
    rest = 1 - settings.test
    shares = rest * (1 - settings.validation), rest * settings.validation
    chosen["split"] = [deal_split(name, f"sweep/{settings.seed}", *shares) for name in chosen["group_id"]]
    for split in SPLITS:
        if not (chosen["split"] == split).any():
            raise ConfigurationError(
                f"sweep: the split '{split}' is empty with one {settings.modality} of each of "
                f"{len(chosen)} people; give more people, or set sweep.cohorts to [] for no sweep."
            )
    return chosen
