"""Statistics of membership inference: AUC, intervals, permutation tests, bounds on ε, and the verdict.

They need only numpy and scipy, and work on any scores.
"""
