"""Draw mutants of the code by seed, and count those that the nearest tests kill (`make mutation`).

mutmut makes the mutants. A mutant is one changed file in a copy of the checkout; a child process, forked
after the libraries were imported, runs the tests of the mutant's folder until one fails. Each verdict is
appended to `results/mutation/<word>.jsonl`, from which a stopped run goes on. A kill stands until the
mutated file changes; a survivor is tried again when its tests change. Exits 1 short of the target.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

import libcst
from mutmut.mutation.file_mutation import create_mutations, deep_replace

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "mutation"
LOG = RESULTS / "last.log"  # what pytest printed last
EQUIVALENTS = Path(__file__).with_name("equivalents.tsv")
WORDS = ("pretrain", "tokenizer", "diffusion", "probe", "fidelity", "memorization", "training", "volumes")
MIN_SHARE = 0.85  # of the mutants that are not equivalent, killed or timed out
# What the code and its tests import from elsewhere: done once, in the process that forks.
LIBRARIES = (
    *("pytest", "hypothesis", "pandas", "pandera.pandas", "pyarrow.parquet", "pydantic", "cyclopts", "pooch"),
    *("scipy.ndimage", "scipy.stats", "sklearn.linear_model", "sklearn.model_selection", "skimage.metrics"),
    *("torch._dynamo", "accelerate", "monai.networks.nets", "timm.models.vision_transformer", "tensorboardX"),
    *("blosc2", "nibabel", "matplotlib.pyplot", "openpyxl", "great_tables"),
)
# Tests of every folder's file of this name, that lie above the folders.
ABOVE = {"settings": ("tests/test_config.py", "tests/test_provenance.py")}
QUICK, SLOW = (f"not slurm and not workflow and {which}slow" for which in ("not ", ""))


@dataclass(frozen=True)
class Mutant:
    """A file's text with one change, and the change as `removed lines -> added lines`."""

    path: str
    change: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {self.change}"

    @property
    def digest(self) -> str:
        return hash_text(self.path + self.text)


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ---- the mutants --------------------------------------------------------------------------------


def draw_mutants(tree: Path, word: str, n: int, seed: int) -> tuple[list[Mutant], int]:
    """n mutants of a folder of the package, and how many there are.

    The rank of a mutant is a hash of seed and mutation, so that other mutants stay drawn when one is added.
    """
    ranked = []
    for path in sorted((tree / "braing3n" / word).rglob("*.py")):
        if path.name != "__init__.py":  # a version and names that are passed on
            ranked += list_mutations(path, path.relative_to(tree).as_posix(), seed)
    drawn: list[Mutant] = []
    for _, name, code, module, mutation in sorted(ranked, key=lambda item: item[0]):
        if len(drawn) == n:
            break
        mutant = make_mutant(name, code, module, mutation)
        if mutant is not None:
            drawn.append(mutant)
    return drawn, len(ranked)


def list_mutations(path: Path, name: str, seed: int) -> list[tuple]:
    """(rank, file, code, syntax tree, mutation) of every mutation of a file but those of prose.

    mutmut leaves decorated functions alone, since it decorates functions itself. Here a file is changed as a
    whole, so decorators are comments while mutations are listed.
    """
    code = path.read_text()
    module, mutations, *_ = create_mutations(name, re.sub(r"(?m)^(\s*)@(?=\w)", r"\1#@", code))
    seen, listed = Counter(), []
    for mutation in mutations:
        old, new = (module.code_for_node(node) for node in (mutation.original_node, mutation.mutated_node))
        if isinstance(mutation.original_node, libcst.BaseString) and " " in old:
            continue  # the wording of a message
        key = f"{seed} {name} {old} -> {new}"
        seen[key] += 1
        listed.append((hash_text(f"{key} {seen[key]}"), name, code, module, mutation))
    return listed


def make_mutant(name: str, code: str, module: libcst.Module, mutation) -> Mutant | None:
    """The mutant, or None where its code is no Python or the same."""
    changed = deep_replace(module, mutation.original_node, mutation.mutated_node).code
    text = re.sub(r"(?m)^(\s*)#@(?=\w)", r"\1@", changed)
    try:
        compile(text, name, "exec")
    except SyntaxError:
        return None
    lines = list(difflib.unified_diff(code.splitlines(), text.splitlines(), n=0, lineterm=""))[2:]
    if not lines:
        return None
    removed, added = (
        " ".join(line[1:].strip() for line in lines if line[0] == sign).strip() for sign in "-+"
    )
    return Mutant(name, f"{removed} -> {added}", int(re.match(r"@@ -(\d+)", lines[0])[1]), text)


# ---- their tests --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: killed, timeout or survived; by which test, after how many seconds of CPU."""

    status: str
    killed_by: str
    cpu_s: float


def run_tests(tree: Path, tests: list[str], marks: str, limit_s: float | None) -> Verdict:
    """Run tests in a forked child until one fails, for at most limit_s seconds of CPU.

    One that sleeps ten times as long waits for what does not come. Waiting for a processor is no sleep.
    """
    pid = os.fork()
    if pid == 0:
        _be_child(tree, tests, marks, limit_s)
    looked_at, asleep_s = time.monotonic(), 0.0
    try:
        while not (ended := os.wait4(pid, os.WNOHANG))[0]:
            time.sleep(0.02)
            now = time.monotonic()
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S":
                asleep_s += now - looked_at
            looked_at = now
            if limit_s and asleep_s > 10 * limit_s:
                os.killpg(pid, signal.SIGKILL)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # the child of a run that is stopped, and what a child left behind
    code, cpu_s = os.waitstatus_to_exitcode(ended[1]), round(ended[2].ru_utime + ended[2].ru_stime, 1)
    if code == 5:
        raise SystemExit(f"mutation: no test ran, or not on the copy; see {LOG}")
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return Verdict("timeout", "", cpu_s)
    named = re.search(r"(?m)^(?:FAILED|ERROR) (\S+)", LOG.read_text(errors="replace"))
    return Verdict("killed" if code else "survived", named[1] if named else "", cpu_s)


def _be_child(tree: Path, tests: list[str], marks: str, limit_s: float | None) -> None:
    """Run pytest in this process, which leads a group of its own, and end with its code."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    output = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 70
    try:
        os.chdir(tree)
        os.environ["PYTHONPATH"] = str(tree)
        sys.path.insert(0, str(tree))
        if limit_s is not None:
            sys.dont_write_bytecode = True  # a mutant may have the size and the second of the one before
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s) + 1, int(limit_s) + 2))
        import pytest

        options = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={RESULTS / 'tmp'}"]
        code = int(pytest.main([*options, "--durations=20", "-m", marks, *tests]))
        import braing3n

        if not Path(braing3n.__file__).is_relative_to(tree):
            code = 5
    finally:
        sys.stdout.flush()
        os._exit(code)


# ---- one folder ---------------------------------------------------------------------------------


def copy_checkout(tree: Path) -> None:
    """The files of the checkout that git knows or would add."""
    shutil.rmtree(tree, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file() and not Path(name).is_absolute():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    (ROOT / "resources").mkdir(exist_ok=True)  # what tests fetch is fetched once
    (tree / "resources").symlink_to(ROOT / "resources")


def read_rows(path: Path) -> dict[str, dict]:
    """{digest of the mutant: the last verdict} of a results file."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {row["mutant"]: row for row in rows}


class Folder:
    """One folder of the package in a copy of the checkout, and the tests nearest to it."""

    def __init__(self, tree: Path, word: str, is_quick: bool):
        self.tree, self.word, self.tests_dir = tree, word, tree / "tests" / word
        above = [tree / name for names in ABOVE.values() for name in names]
        sources = [*sorted(self.tests_dir.rglob("*.py")), *above, tree / "tests" / "conftest.py"]
        content = "".join(path.read_text() for path in sources)
        self.tests_digest = hash_text(content) + (" quick" if is_quick else "")
        self.marks = [QUICK, SLOW] if "pytest.mark.slow" in content and not is_quick else [QUICK]
        code = "".join(path.read_text() for path in sorted((tree / "braing3n").rglob("*.py")))
        self.clean_digest = hash_text(code + content)

    def examine(self, n: int, seed: int) -> dict:
        """Test the drawn mutants that have no verdict yet; the rows of all that are drawn."""
        mutants, n_all = draw_mutants(self.tree, self.word, n, seed)
        path, rows = RESULTS / f"{self.word}.jsonl", []
        known = read_rows(path)
        for i, mutant in enumerate(mutants, start=1):
            row = known.get(mutant.digest)
            if row is None or (row["status"] == "survived" and row["tests"] != self.tests_digest):
                verdict = self.test(mutant)
                row = {"path": mutant.path, "line": mutant.line, "change": mutant.change, **asdict(verdict)}
                row |= {"mutant": mutant.digest, "tests": self.tests_digest}
                with path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"{self.word} {i}/{n} {verdict.status} after {verdict.cpu_s} s: {mutant}", flush=True)
            rows.append(row)
        return {"word": self.word, "n_all": n_all, "rows": rows}

    def test(self, mutant: Mutant) -> Verdict:
        """Its verdict by the quick tests and, where it survives them, by the slow ones."""
        path = self.tree / mutant.path
        tests, given = self.order_tests(path.stem), path.read_text()
        for marks in self.marks:
            limit_s = self.find_limit(marks)
            for cached in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
                cached.unlink()
            path.write_text(mutant.text)
            try:
                verdict = run_tests(self.tree, tests, marks, limit_s)
            finally:
                path.write_text(given)
            if verdict.status != "survived":
                break
        return verdict

    def order_tests(self, module: str) -> list[str]:
        """The test files, those first that are named for the module or name it."""
        names = re.compile(rf"{self.word}\.(\w+\.)*{module}\b")
        files = self.tests_dir.rglob("test_*.py")
        order = sorted(
            (f.stem != f"test_{module}", not names.search(f.read_text()), f.name, f) for f in files
        )
        return [str(self.tree / name) for name in ABOVE.get(module, ())] + [str(file) for *_, file in order]

    def find_limit(self, marks: str) -> float:
        """Seconds of CPU that a mutant gets: twice what the unchanged code takes, and ten.

        Raises:
            SystemExit: the unchanged code fails its tests.
        """
        path = RESULTS / "clean.json"  # {digest of code and tests: seconds}
        known = json.loads(path.read_text()) if path.exists() else {}
        if (key := self.clean_digest + marks) not in known:
            clean = run_tests(
                self.tree, self.order_tests(next(iter(ABOVE))), marks, None
            )  # all that any runs
            if clean.status != "survived":
                raise SystemExit(f"mutation: {clean.killed_by} fails without a mutant; see {LOG}")
            shutil.copy(LOG, RESULTS / f"clean-{self.word}.log")
            print(f"{self.word}: its tests ({marks}) take {clean.cpu_s} s of CPU", flush=True)
            known[key] = clean.cpu_s
            path.write_text(json.dumps(known, indent=1))
        return 2 * known[key] + 10


# ---- all folders --------------------------------------------------------------------------------


def read_equivalents() -> dict[tuple[str, str], str]:
    """{(file, change): why no test can notice it}."""
    lines = EQUIVALENTS.read_text().splitlines()[1:]
    return {(path, change): why for path, change, why in (line.split("\t") for line in lines)}


def summarise(found: list[dict]) -> tuple[str, bool]:
    """A table by folder and the list of survivors, in Markdown, and whether every folder met the target."""
    equivalents, is_met = read_equivalents(), True
    lines = [
        "| folder | mutants | drawn | killed | timed out | equivalent | survived | killed of the others |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|"]
    listed = []
    for folder in found:
        counts = Counter()
        for row in folder["rows"]:
            why = equivalents.get((row["path"], row["change"]))
            status = "equivalent" if row["status"] == "survived" and why else row["status"]
            counts[status] += 1
            if row["status"] == "survived":
                reason = f" Equivalent: {why}" if why else ""
                listed.append(f"- `{row['path']}:{row['line']}`: `{row['change']}`.{reason}")
        n = len(folder["rows"])
        share = (counts["killed"] + counts["timeout"]) / max(1, n - counts["equivalent"])
        is_met &= share >= MIN_SHARE
        cells = [counts[name] for name in ("killed", "timeout", "equivalent", "survived")]
        row = [folder["word"], folder["n_all"], n, *cells, f"{share:.0%}"]
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join([*lines, "", "Survivors:", "", *listed, ""]), is_met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", default=WORDS, help="folders of the package; all eight if none")
    parser.add_argument("--n", type=int, default=50, help="mutants drawn of each folder")
    parser.add_argument("--seed", type=int, default=2025)
    parser.add_argument("--quick", action="store_true", help="leave out the tests marked slow")
    options = parser.parse_args()
    os.chdir(ROOT)  # where mutmut finds its settings
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    os.environ |= {"MPLBACKEND": "Agg", "CUDA_VISIBLE_DEVICES": ""}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # to look for plug-ins takes half of a child's time
    RESULTS.mkdir(parents=True, exist_ok=True)
    tree = RESULTS / "tree"
    copy_checkout(tree)
    for name in LIBRARIES:
        import_module(name)
    found = [Folder(tree, word, options.quick).examine(options.n, options.seed) for word in options.words]
    summary, is_met = summarise(found)
    (RESULTS / "summary.md").write_text(summary)
    print(summary)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
