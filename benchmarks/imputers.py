"""What attrgan is compared with on numeric tables: imputers of the whole table, none of which says how sure it is."""

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import BayesianRidge

from benchmarks.gain import impute
from benchmarks.peers import Answer, per_column
from benchmarks.tasks import Task


def _answered(task: Task, fill: Callable[[np.ndarray], np.ndarray]) -> Answer:
    """Answers from a filled table."""
    names = list(task.set.kinds)
    with warnings.catch_warnings():  # the number of rounds is what the peer is given
        warnings.simplefilter("ignore", ConvergenceWarning)
        filled = fill(task.test[names].to_numpy(float))
    return per_column(task, lambda name: lambda: (filled[:, names.index(name)], np.nan))


def mean(task: Task) -> Answer:
    """The mean of the column."""
    return _answered(task, SimpleImputer().fit_transform)


def iterative_ridge(task: Task) -> Answer:
    """Chained equations with a Bayesian ridge regression per column."""
    return _answered(task, IterativeImputer(BayesianRidge(), random_state=task.seed).fit_transform)


def iterative_extratrees(task: Task) -> Answer:
    """Chained equations with extremely randomised trees."""
    trees = ExtraTreesRegressor(n_estimators=10, random_state=task.seed)
    return _answered(task, IterativeImputer(trees, random_state=task.seed).fit_transform)


def missforest(task: Task) -> Answer:
    """Chained equations with random forests, with the settings of scikit-learn's own example for MissForest."""
    forest = RandomForestRegressor(n_estimators=4, max_depth=10, max_samples=0.5, random_state=task.seed)
    return _answered(task, IterativeImputer(forest, max_iter=25, tol=0.1, random_state=task.seed).fit_transform)


def gain(task: Task) -> Answer:
    """GAIN as published, see `benchmarks.gain`."""
    return _answered(task, lambda table: impute(table, task.seed))
