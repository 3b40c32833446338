"""Every statistic of the auditor in one place; plain numpy and scipy, for any scores."""

from prime_audit.audit.auc import Undefined, auc, null_auc_sd, tpr_at_fpr
from prime_audit.audit.bootstrap import Estimate, bootstrap_ci, paired_difference, percentile_interval
from prime_audit.audit.epsilon import (
    clopper_pearson,
    epsilon_bound,
    epsilon_ceiling,
    one_run_ceiling,
    one_run_epsilon,
    one_run_p_value,
)
from prime_audit.audit.panels import AucEstimate, Panel, mean_auc_ci, mean_auc_difference, target_auc

__all__ = [
    "AucEstimate",
    "Estimate",
    "Panel",
    "Undefined",
    "auc",
    "bootstrap_ci",
    "clopper_pearson",
    "epsilon_bound",
    "epsilon_ceiling",
    "mean_auc_ci",
    "mean_auc_difference",
    "null_auc_sd",
    "one_run_ceiling",
    "one_run_epsilon",
    "one_run_p_value",
    "paired_difference",
    "percentile_interval",
    "target_auc",
    "tpr_at_fpr",
]
