"""What IXI's specification prints."""

import re

from ..fixtures import Expected

CHAPTER = ("part_a.md", 9)
CODE = ("IXI.xls", "SEX_ID (1=m, 2=f)", r"(?<=90\d),[12],")
HANDFUL = [
    Expected("IXI009", "", "T2", "-T2", {"age_years": "28.06", "sex": "F", "dx": "HC", "site": "HH"}),
    Expected("IXI904", "", "T1", "-T1", {"age_years": "", "dx": "HC", "qc_flag": "no_phenotype"}),
]


def _list_clauses(prose: str) -> list[str]:
    """What stands between semicolons after `Expected ...:`."""
    line = re.search(r"^Expected.*$", prose, re.MULTILINE).group().replace("**", "")
    return [clause.strip(" .") for clause in re.split(r": (?=\S+ )", line, maxsplit=1)[1].split(";")]


def read(prose: str) -> list[Expected]:
    """The volumes of the expected text."""
    volumes = []
    clauses = _list_clauses(prose)
    dx = next(clause.removeprefix("all ") for clause in clauses if clause.startswith("all "))
    for clause in clauses:
        match = re.match(r"(IXI\d{3}) ((?:T\d(?:, )?)+) ?(?:age )?(.*)", clause)
        if match is None:
            continue
        subject, modalities, rest = match.groups()
        values = {"dx": dx}
        if rest == "no_phenotype":
            values |= {"age_years": "", "sex": "", "qc_flag": rest}
        else:
            age, sex = rest.split()
            values |= {"age_years": "" if age == "NA" else age, "sex": sex}
        volumes += [Expected(subject, "", name, f"-{name}.nii", values) for name in modalities.split(", ")]
    return volumes
