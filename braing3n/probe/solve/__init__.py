"""Logistic regression and ridge out of fold: scikit-learn's objectives, all folds and targets in one solve.

Features are standardised in each fold. What folds have in common is computed once: the scatter of a training
set is the sum of those of its folds, and one product with the features serves every fold and class. Where
people are fewer than features, the fits are in the span of the people.
"""
