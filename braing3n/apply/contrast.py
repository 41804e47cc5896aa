"""Contrast, person and visit of a scan, from its file name or a series' description."""

from __future__ import annotations

import re

# Words (upper case, blanks between) of images that are not structural scans of the head, and what they are.
OTHERS = {
    r"\bPART (PHASE|IMAG|REAL)\b|\b(IMAG|IMAGINARY|REAL) ?(PART|IMAGES?)?$": "no magnitude image",
    r"\b(D?SEG|SEGM|SEGMENTATION|MASK|ROI|LESIONS?|LABELS?|APARC|ASEG)\b": "a segmentation or mask",
    r"LOCALI[SZ]ER|\bLOC\b|SCOUT|SURVEY|\b3 ?PL(ANE)?\b|SMARTBRAIN|SCREEN": "a localiser",
    r"\bDTI\b|\bDWI\b|DIFFUS|\bDIFF\b|\bE?ADC\b|TRACE|TENSOR|\bFA\b": "diffusion",
    r"BOLD|FMRI|\bREST(ING)?\b": "functional",
    r"\bASL\b|PERF|\bDSC\b|\bDCE\b|\bCBF\b|\bCBV\b": "perfusion",
    r"\bSWI\b|SWAN|T2 ?STAR|\bGRE\b|\bM(IN)?IP\b|\bPHASE\b": "susceptibility or T2*",
    r"\bMRA\b|\bTOF\b|ANGIO|VENO": "angiography",
    r"FIELD ?MAP|\bB0\b|\bB1\b|CALIB|SHIM": "a field map or calibration",
    r"\bMRS\b|SPECTRO|\bSVS\b|\bCSI\b": "spectroscopy",
    r"\bINV ?[12]\b": "an inversion image of MP2RAGE, not its UNI",
    r"MP2RAGE.*\bT1 IMAGES\b|REFORMAT|SUBTRACT|\bT[12] ?MAP\b|\bMAP\b": "made from another series",
    r"SPINE|NECK|ORBIT|\bIAC\b": "not of the head",
}
FLAIR = r"FLAIR|DARK ?FLUID|\bFLA\b|\bT2 ?F\b"
T1_FLAIR = r"\bT1W?I? ?(FLAIR|DARK ?FLUID)"
T1 = r"\bUNI(T1)?\b|(?<![A-Z])(?:[23]D)?T1(?!\d)|MP2?RAGE|\bMPR\b|SPGR|BRAVO|\bTFL\b"
T2 = r"(?<![A-Z])(?:[23]D)?T2(?!\d)"
WITHOUT_AGENT = r"\b(WITHOUT|PRE|NON?|W O|WO|OHNE|SANS) ?(CONTRAST|CON|GAD\w*|GD|KM|CE|C)\b"
AGENT = r"\b(GD|GAD\w*|POST\w*|CE|KM|CONTRAST)\b|\+ ?(C|GD|KM)\b|\bC ?\+|T1W? ?(C|CE|GD|KM|POST)\b"
# Words of a name that do not identify a person.
EMPTY_WORDS = (
    r"SCAN|IMAGE|IMG|BRAIN|HEAD|ANAT|VOLUME|VOL|MRI|MR|NIFTI|3D|2D|SAG|AX|TRA|COR|"
    r"W|WEIGHTED|PRE|POST|CE|GD|GAD|C|CONTRAST|RAW|ORIG|DICOM"
)

# Words of a series' description that say how it was scanned. Any other may be a name, and is not printed.
PROTOCOL_WORDS = re.compile(
    r"""[23]?D?(T[12][WCFN]?|PDW?|T1CE|UNI(T1)?|T2STAR)|[23]D|\dMM|P\d|\d{1,3}DIR|INV\d|DIS[23]D|N[DS]|NORM
    |MP2?RAGE|MPR|F?SPGR|BRAVO|TF[EL]|F?SE|TSE|TIRM|STIR|IR|GRE|EPI?|EP2D|SPACE|CUBE|VISTA|FFE|FSE
    |FLAIR|DARK|FLUID|FS|FAT|SAT|STAR|SWI|SWAN|MIP|MINIP|PHASE|PHA|MAG|MAGNITUDE|REAL|IMAGINARY
    |DWI|DTI|DIFF|DIFFUSION|E?ADC|TRACE|TRACEW|TENSOR|FA|B0|B1|BOLD|FMRI|REST(ING)?|STATE|TASK|RUN
    |ASL|PERF|PERFUSION|DSC|DCE|CBF|CBV|MRA|TOF|ANGIO|MRS|SVS|CSI|FIELD|MAP(PING)?|FIELDMAP|CALIBRATION
    |LOCALI[SZ]ER|LOC|SCOUT|AAHEAD|SURVEY|PLANE|SMARTBRAIN|SHIM|SHC
    |AX|AXIAL|TRA|TRANSVERSE|SAG|SAGITTAL|COR|CORONAL|OBL|OBLIQUE|ISO|HIRES|HR|RES|HIGH|MM
    |PRE|POST|WITH|WITHOUT|WO|CONTRAST|GD|GAD|CE|KM
    |IMAGES?|SERIES|SCAN|REPEAT|RPT|REFORMAT|SUBTRACT(ION)?|DERIVED|ORIG(INAL)?|RAW|CORRECTED
    |GRAPPA\d?|SENSE|ASSET|ARC|PROPELLER|BLADE|HEAD|BRAIN|SKULL|HIPPO|HIPPOCAMPUS|SPINE|NECK|ORBITS?|IAC""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
SEPARATORS = " _.+*/()-"


def keep_protocol_words(description: str) -> str:
    """A series' description with every word but those of protocols as an ellipsis: it may hold a name.

    >>> keep_protocol_words("Smith_John t1_mprage sag")
    '… t1_mprage sag'
    """
    kept = re.sub(
        rf"[A-Za-z0-9]+|[^A-Za-z0-9{re.escape(SEPARATORS)}]",
        lambda found: found[0] if PROTOCOL_WORDS.fullmatch(found[0]) else "…",
        description,
    )
    return re.sub(rf"…([{re.escape(SEPARATORS)}]*…)+", "…", kept).strip()


def parse_modality(text: str) -> str:
    """T1, T1c, T2 or FLAIR; `-what` for another image; empty if the words give no contrast."""
    words = _list_words(text)
    for pattern, what in OTHERS.items():
        if re.search(pattern, words):
            return f"-{what}"
    if re.search(FLAIR, words) and not re.search(T1_FLAIR, words):
        return "FLAIR"
    is_t1, is_t2 = bool(re.search(T1, words)), bool(re.search(T2, words))
    if is_t1 == is_t2:
        return "-proton density" if re.search(r"\bPDW?\b", words) and not is_t1 else ""
    if is_t2:
        return "T2"
    return "T1c" if re.search(AGENT, re.sub(WITHOUT_AGENT, " ", words)) else "T1"


def parse_subject(stem: str) -> str:
    """The `sub-` of a name, else its rest without the contrast and words such as `scan`; may be empty."""
    if found := re.search(r"sub-([0-9A-Za-z]+)", stem):
        return found[1]
    parts = [part for part in re.split(r"[_\-. ]+", stem) if re.search(r"[0-9A-Za-z]", part)]
    return "-".join(
        part for part in parts if not re.fullmatch(EMPTY_WORDS, part.upper()) and not parse_modality(part)
    )


def parse_session(stem: str) -> str:
    """The `ses-` of a name; empty if it has none."""
    found = re.search(r"ses-([0-9A-Za-z]+)", stem)
    return found[1] if found else ""


def _list_words(text: str) -> str:
    return re.sub(r"[^A-Z0-9+]+", " ", text.upper().replace("*", " STAR ")).strip()
