"""The judges of generated volumes on any two folders of NIfTI, for people who judge other generators."""
