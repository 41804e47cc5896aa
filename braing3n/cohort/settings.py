"""Settings of one cohort: where its download lies, and how it is cut into shards."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import model_validator

from braing3n.core.settings import Settings, parse_section, setting


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
            raise ValueError(
                f"kind names a file in cohorts/, of the letters a to z, digits and _, not {self.kind!r}"
            )
        if bool(self.raw_dir) == bool(self.miniature):
            raise ValueError("give either raw_dir (a download) or miniature (options of phantoms)")
        return self


def read_cohorts(settings_dir: Path, keys: Iterable[str]) -> dict[str, CohortSettings]:
    """The cohorts of these keys, from their settings files `cohorts.<key>.json`."""
    return {key: parse_section(CohortSettings, settings_dir / f"cohorts.{key}.json") for key in keys}
