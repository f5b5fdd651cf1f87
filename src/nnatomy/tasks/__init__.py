"""Tasks: the metrics and outputs of a model. One file a task, with all that depends on it; a recipe names the class."""

from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.tasks.anomaly import Anomaly
from nnatomy.tasks.baselines import Baseline, FittedBaseline
from nnatomy.tasks.classification import Classification
from nnatomy.tasks.clustering import Clustering
from nnatomy.tasks.completion import Completion
from nnatomy.tasks.control import Control
from nnatomy.tasks.density import Density
from nnatomy.tasks.forecast import Forecast
from nnatomy.tasks.forward import forward
from nnatomy.tasks.generation import Generation
from nnatomy.tasks.graph_classification import GraphClassification
from nnatomy.tasks.language import Language
from nnatomy.tasks.masked_language import MaskedLanguage
from nnatomy.tasks.node_classification import NodeClassification
from nnatomy.tasks.parts import Answer, Coloring, Meter, Mistakes, Score
from nnatomy.tasks.recall import Recall
from nnatomy.tasks.reconstruction import Reconstruction
from nnatomy.tasks.regression import Regression
from nnatomy.tasks.segmentation import Segmentation
from nnatomy.tasks.task import Task
from nnatomy.tasks.translation import Translation
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.precision import FLOAT32, Precision
from nnatomy.training.recipe import Recipe

__all__ = [
    "Anomaly", "Answer", "Baseline", "Classification", "Clustering", "Coloring", "Completion", "Control", "Density",
    "Evaluation", "FittedBaseline", "Forecast", "Generation", "GraphClassification", "Language", "MaskedLanguage", "Meter",
    "Metric", "Mistakes", "NodeClassification", "Recall", "Reconstruction", "Regression", "Score", "Segmentation", "Task",
    "Translation", "forward", "task_for",
]  # fmt: skip


def task_for(recipe: Recipe, dataset: Dataset, precision: Precision = FLOAT32) -> Task:
    """Return the task of a recipe that measures a data set. Raises UserError where none does."""
    name = recipe.does(dataset)
    for task in recipe.tasks:
        if task.name == name:
            return task(recipe, dataset, precision)  # type: ignore[no-any-return]
    raise UserError(f"The recipe does {', '.join(recipe.task_names)}. Received data for {dataset.task}. Choose other data.")
