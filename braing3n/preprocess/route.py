"""Which steps a scan needs, from four facts about its raw state and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# T1 is the centre of a visit; where it is missing or bad, the next in this order takes its place.
CENTRE_ORDER = ("T1", "T1c", "T2", "FLAIR")


@dataclass(frozen=True)
class RawState:
    """The four facts of the inventory."""

    is_bias_corrected: bool
    is_defaced: bool
    is_stripped: bool
    raw_space: str

    @classmethod
    def from_row(cls, row: Mapping) -> RawState:
        """Read the facts from an inventory row (0/1 columns and `raw_space`)."""
        return cls(
            is_bias_corrected=bool(int(row["is_bias_corrected"])),
            is_defaced=bool(int(row["is_defaced"])),
            is_stripped=bool(int(row["is_stripped"])),
            raw_space=str(row["raw_space"]),
        )


@dataclass(frozen=True)
class Route:
    """What is done to one scan; nothing is ever done twice."""

    has_n4: bool
    has_extraction: bool  # only ever true of a centre: the others take its mask
    has_rigid: bool
    has_affine: bool

    def describe(self, extraction: str, centre: str = "", is_voxel_exact: bool = False) -> str:
        """What was done, `extraction` being what finding a centre's brain took.

        The `steps` column: `n4;extract:deepbet;affine`; of a companion `n4;rigid:T1;mask:T1;affine`.
        """
        steps = ["n4"] if self.has_n4 else []
        if centre:
            steps += [f"rigid:{centre}"] if self.has_rigid else []
            steps.append(f"mask:{centre}")
        else:
            steps.append(extraction)
        steps.append("affine" if self.has_affine else "keep" if is_voxel_exact else "resample")
        return ";".join(steps)


def plan_centre(state: RawState, brain_extraction: str) -> Route:
    """The route of the scan that carries a visit's mask and transform.

    With `brain_extraction: none` a whole head counts as a brain already: its nonzero voxels are the mask.
    """
    return Route(
        has_n4=not state.is_bias_corrected,
        has_extraction=not state.is_stripped and brain_extraction != "none",
        has_rigid=False,
        has_affine=state.raw_space != "sri24",
    )


def plan_companion(state: RawState, centre: RawState) -> Route:
    """The route of a scan that takes the centre's mask and transform.

    Two scans of a visit share a space when both are in the same space other than their scanner's.
    """
    is_shared = state.raw_space == centre.raw_space and state.raw_space != "native"
    return Route(
        has_n4=not state.is_bias_corrected,
        has_extraction=False,
        has_rigid=not is_shared,
        has_affine=centre.raw_space != "sri24",
    )
