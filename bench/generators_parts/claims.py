"""What bench/generators.py claims of a seed's figures, and the table that says whether it holds."""

from __future__ import annotations

Claim = tuple[str, str, bool]


def list_claims(item: dict) -> list[Claim]:
    """What is claimed of one seed: a name, the figures, and whether it holds."""
    parts = {"control": claim_control, "counterfactuals": claim_changes, "forecasts": claim_forecasts}
    return [claim for name, claim_part in parts.items() if name in item for claim in claim_part(item[name])]


def claim_control(control: dict) -> list[Claim]:
    """Requested classes and ages are read."""
    claims = []
    for name in ("disease", "sex"):
        value, low, high = control[name]["gap"]
        text = (
            f"{value:.2f} [{low:.2f}, {high:.2f}]; judge right on real {control[name]['real_accuracy']:.2f}"
        )
        claims.append((f"{name}: P(requested) - P(null)", text, value >= 0.2 and low > 0))
    value, low, high = control["age"]["r"]
    text = f"{value:.2f} [{low:.2f}, {high:.2f}]; real {control['age']['real_r']:.2f}"
    claims.append(("age: r of requested and read", text, value >= 0.7))
    return claims


def claim_changes(traits: dict) -> list[Claim]:
    """Counterfactuals change what is planted, and unchanged conditions nothing."""
    claims = []
    for trait, of in traits.items():
        value, low, high = of["gain"]
        text = f"{value:.4f} [{low:.4f}, {high:.4f}] of {of['no_change']:.4f}"
        claims.append((f"{trait}: error inside, below no change by", text, low > 0))
        text = f"{of['outside']:.4f} of {of['inside']:.4f}; planted {of['planted_outside']:.4f} of "
        text += f"{of['planted_inside']:.4f}, through the tokenizer {of['tokenizer_outside']:.4f} of "
        text += f"{of['tokenizer_inside']:.4f}"
        claims.append((f"{trait}: effect outside of inside", text, 3 * of["outside"] < of["inside"]))
        text = f"{of['composition']:.4f} of {of['reconstruction']:.4f}"
        claims.append((f"{trait}: unchanged, of the reconstruction's error", text,
                       of["composition"] <= of["reconstruction"]))  # fmt: skip
        text = f"{of['reversal']:.4f} of {of['reconstruction']:.4f}"
        claims.append((f"{trait}: there and back", text, of["reversal"] <= 2 * of["reconstruction"]))
    return claims


def claim_forecasts(forecasts: dict) -> list[Claim]:
    """Forecasts age as the true follow-ups, and none does with shuffled years."""
    claims = []
    (value, low, high), truth = forecasts["bridge_slope"], forecasts["true_slope"]
    text = f"{value:.2f} [{low:.2f}, {high:.2f}]; true {truth[0]:.2f} [{truth[1]:.2f}, {truth[2]:.2f}]"
    claims.append(("bridge: years read a year", text, value >= truth[0] / 2 > 0))
    value, low, high = forecasts["gain"]
    text = f"{value:.4f} [{low:.4f}, {high:.4f}] of {forecasts['no_change']:.4f}"
    claims.append(("bridge: voxel error, below no change by", text, low > 0))
    value, low, high = forecasts["shuffled_slope"]
    claims.append(("shuffled years: years read a year", f"{value:.2f} [{low:.2f}, {high:.2f}]",
                   abs(value) < 0.1))  # fmt: skip
    return claims


def format_table(found: list[dict]) -> str:
    """All claims in Markdown, a column a seed; what does not hold says so."""
    columns = [list_claims(item) for item in found]
    lines = ["| | " + " | ".join(f"seed {item['seed']}" for item in found) + " |\n"]
    lines.append("|---|" + "---|" * len(found) + "\n")
    for row in zip(*columns, strict=True):
        cells = [f"{text}{'' if holds else ' **not met**'}" for _, text, holds in row]
        lines.append(f"| {row[0][0]} | " + " | ".join(cells) + " |\n")
    return "".join(lines)
