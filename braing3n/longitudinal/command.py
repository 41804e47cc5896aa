"""The command line of `longitudinal`."""

from pathlib import Path

from cyclopts import App

from braing3n.core.options import Checkpoints, Labels, Threads, TrainedWeights

app = App(
    name="braing3n longitudinal", help="Pair visits; train the bridge between them; forecast held-out people."
)


@app.command
def pair(*, labels: Labels, out: Path, settings: str) -> None:
    """List every earlier-later pair of visits of one person.

    Parameters
    ----------
    out
        The table of pairs to write (.parquet); empty where the run has none.
    settings
        The section `longitudinal`: its settings file, or a configuration file.
    """
    import sys

    from braing3n.core.contracts import read_table, write_table
    from braing3n.core.settings import parse_section
    from braing3n.longitudinal.contracts import PAIRS
    from braing3n.longitudinal.pairs import explain_absence, list_pairs
    from braing3n.longitudinal.settings import LongitudinalSettings
    from braing3n.manifest.contracts import LABELS

    options = parse_section(LongitudinalSettings, settings)
    pairs, flags = list_pairs(read_table(labels, LABELS), options)
    if reason := explain_absence(pairs, options):
        flags.append(f"no bridge is trained: {reason}")
    for flag in flags:
        print(f"warning: {flag}", file=sys.stderr)
    write_table(pairs, out, PAIRS)
    print(
        "longitudinal: pairs:",
        ", ".join(f"{split} {n}" for split, n in pairs["split"].value_counts().items()),
    )


@app.command
def train(
    *,
    tokens: Path,
    tokenizer: Path,
    labels: Labels,
    pairs: Path,
    weights: TrainedWeights,
    settings: str,
    checkpoints: Checkpoints = None,
    threads: Threads = 1,
) -> None:
    """Train the bridge on the training split's pairs; a killed run resumes at its last checkpoint.

    Parameters
    ----------
    tokens
        Every volume's tokens (.npy), rows as in the label table.
    tokenizer
        The tokenizer's weight file, which knows the grid of the tokens.
    pairs
        The table of pairs (.parquet). With too few, a weight file is written that holds the reason alone.
    settings
        The section `longitudinal`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    import numpy as np

    from braing3n.core.contracts import read_table
    from braing3n.core.settings import parse_section
    from braing3n.longitudinal.contracts import PAIRS
    from braing3n.longitudinal.pairs import explain_absence
    from braing3n.longitudinal.settings import LongitudinalSettings
    from braing3n.longitudinal.train import Ends, train_bridge
    from braing3n.manifest.contracts import LABELS
    from braing3n.nets.weights import load_model, write_weights
    from braing3n.tokenizer.model import Tokenizer

    options, listed = parse_section(LongitudinalSettings, settings), read_table(pairs, PAIRS)
    if reason := explain_absence(listed, options):
        write_weights(weights, {}, "no bridge", {"reason": reason})
        return
    volume_ids = read_table(labels, LABELS)["volume_id"]
    ends = Ends(np.load(tokens, mmap_mode="r"), load_model(Tokenizer, tokenizer).grid, listed, volume_ids)
    train_bridge(ends, options, checkpoints or weights.parent / "checkpoints", weights, [tokens, pairs])


@app.command
def take(*, given: Path, weights: TrainedWeights) -> None:
    """Start from a bridge that was trained elsewhere, in place of training.

    Parameters
    ----------
    given
        Its weight file, of this program.
    """
    from braing3n.training import take_weights

    take_weights(given, "Bridge", weights)


@app.command
def forecast(
    *,
    weights: Path,
    tokens: Path,
    tokenizer: Path,
    labels: Labels,
    pairs: Path,
    out: Path,
    table: Path,
    settings: str,
    threads: Threads = 1,
) -> None:
    """Forecast held-out people from their first visit; a killed job resumes.

    Parameters
    ----------
    weights
        The bridge's weight file; where it holds a reason only, the table is empty and says so.
    tokens
        Every volume's tokens (.npy), rows as in the label table.
    tokenizer
        The tokenizer's weight file.
    pairs
        The table of pairs (.parquet).
    out
        Tokens of the forecasts to write (.npz).
    table
        One row a forecast to write (.parquet), and beside it a JSON with the reason where there is none.
    settings
        The section `longitudinal.forecast`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.settings import parse_section
    from braing3n.longitudinal.forecast import run_forecasts
    from braing3n.longitudinal.settings import ForecastSettings

    options = parse_section(ForecastSettings, settings)
    given = {"weights": weights, "tokens": tokens, "tokenizer": tokenizer, "labels": labels, "pairs": pairs}
    run_forecasts(given, {"forecasts": out, "table": table}, options)


@app.command
def evaluate(*, results: Path, threads: Threads = 1) -> None:
    """Decode forecasts, read their ageing with a probe, beside true later visits; draw Figures 4 and 7.

    Parameters
    ----------
    results
        The run's results folder, such as results/demo.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.settings import Settings, parse_section
    from braing3n.longitudinal.evaluate import evaluate_forecasts
    from braing3n.longitudinal.settings import EvaluationSettings, ForecastSettings, LongitudinalSettings
    from braing3n.probe.settings import ProbeSettings

    kinds: dict[str, type[Settings]] = {"longitudinal": LongitudinalSettings, "probe": ProbeSettings}
    kinds |= {"longitudinal.forecast": ForecastSettings, "longitudinal.evaluation": EvaluationSettings}
    read = {name: parse_section(kind, results / "settings" / f"{name}.json") for name, kind in kinds.items()}
    own, options, evaluation = (read[f"longitudinal{name}"] for name in ("", ".forecast", ".evaluation"))
    evaluate_forecasts(results, own, options, evaluation, read["probe"])
