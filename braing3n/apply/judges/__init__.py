"""The evaluation of generated volumes on any two folders of NIfTI, from any generator."""
