"""What PPMI's specification prints."""

from ..fixtures import Expected
from .adni import read

__all__ = ["CHAPTER", "CODE", "HANDFUL", "HANDFUL_TABLES", "read"]

CHAPTER = ("part_a.md", 2)
CODE = ("Demographics_11Apr2026.csv", "HANDED", r"(?<=\d{4},[01]),[123],")
HANDFUL = [
    Expected("90001", "20120314", "T2", "I900102", {"age_years": "62.41", "dx": "PD", "moca": "28"}),
    Expected("90001", "20130402", "T1", "I900104", {"age_years": "63.46", "updrs3": "27", "moca": "27"}),
    Expected("90002", "20140601", "T1", "I900110", {"age_years": "58.13", "handedness": "L"}),
]
HANDFUL_TABLES = {
    "Magnetic_Resonance_Imaging__MRI__11Apr2026.csv": """\
PATNO,EVENT_ID,INFODT,MRICMPLT
90001,BL,03/2012,1
90001,V04,04/2013,1
""",
    "MDS-UPDRS_Part_III_11Apr2026.csv": """\
REC_ID,PATNO,EVENT_ID,PAG_NAME,INFODT,PDTRTMNT,PDSTATE,NHY,NP3TOT
10,90001,BL,NUPDRS3,03/2012,,,2,21
11,90001,V04,NUPDRS3A,04/2013,1,ON,2,18
12,90001,V04,NUPDRS3,04/2013,1,OFF,2,27
""",
    "Montreal_Cognitive_Assessment__MoCA__11Apr2026.csv": """\
REC_ID,PATNO,EVENT_ID,INFODT,MCATOT
20,90001,SC,02/2012,28
21,90001,V04,04/2013,27
""",
}
