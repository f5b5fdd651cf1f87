"""Environments: worlds that an agent acts in. An example is the start of an episode."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Batch, Dataset, Split
from nnatomy.data.kinds.environment.environment import EnvironmentPreprocessing, environment_dataset
from nnatomy.data.kinds.environment.grid import GRIDS
from nnatomy.data.kinds.environment.worlds import GYMNASIUM, class_in, is_class, keep
from nnatomy.data.kinds.kind import NO, SURELY, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Look, look_at
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.data.sets import Made
from nnatomy.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[Any]
CLASSIC = {"cartpole": "CartPole-v1", "mountain_car": "MountainCar-v0", "acrobot": "Acrobot-v1"}


def _read(name: str, source: str) -> Callable[[Reading], Dataset]:
    return partial(environment_dataset, name, source)


class EnvironmentKind(Kind[EnvironmentPreprocessing]):
    """Grid worlds of our own, gymnasium's environments by their id, and a user's class with gymnasium's reset and step."""

    name, noun = "environment", "environments"
    preprocessing = EnvironmentPreprocessing
    endings = (".py",)
    sets = {name: Made(_read(name, name)) for name in GRIDS} | {
        name: Made(_read(name, GYMNASIUM + known)) for name, known in CLASSIC.items()
    }

    def named(self, source: str) -> Made | None:
        return Made(_read(source, source)) if source.startswith(GYMNASIUM) else None

    def recognize(self, source: Source, reading: Reading) -> int:
        return SURELY if source.suffix == ".py" else NO

    def read(self, source: Source, reading: Reading) -> Dataset:
        class_in(source.path)
        return environment_dataset(source.path.stem, str(source.path.absolute()), reading)

    def value(self, value: Any, reading: Reading) -> Dataset | None:
        if not is_class(value):
            return None
        source = keep(value)
        return environment_dataset(source.partition(":")[2], source, reading)

    def inputs(self, source: Source, preprocessing: EnvironmentPreprocessing, raw: bool = False) -> Inputs:
        table, names = source.table, preprocessing.columns
        lacking = [name for name in names if name not in table.columns]
        if lacking:
            raise UserError(
                f"A file of observations has the columns {', '.join(names)}. Received {source} without "
                f"{', '.join(lacking)}. Add them."
            )
        try:
            found = np.array([[float(cell) for cell in table.columns[name]] for name in names]).T
        except ValueError as problem:
            cell = str(problem).rpartition(": ")[2]
            raise UserError(f"Observations are numbers. Received {cell} in {source}. Correct it.") from None
        return self.given(found, preprocessing, raw)

    def given(self, value: Any, preprocessing: EnvironmentPreprocessing, raw: bool = False) -> Inputs:
        arrays = preprocessing.raw(value) if raw else preprocessing.transform(value)
        return Inputs(arrays, tuple(str(n + 1) for n in range(len(arrays[0]))))

    def examples(self, source: Source, preprocessing: EnvironmentPreprocessing) -> tuple[Split, tuple[str, ...]]:
        return self.given_examples(source, preprocessing)

    def given_examples(self, value: Any, preprocessing: EnvironmentPreprocessing) -> tuple[Split, tuple[str, ...]]:
        raise UserError(f"An agent is evaluated on episodes of its training environment. Received {value}. Leave out the data.")

    def reader(self, preprocessing: EnvironmentPreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.environment.request import ObservationReader

        return ObservationReader(preprocessing)

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.environment.export import ObservationInputs

        return ObservationInputs(dataset, self.fitted(dataset))

    def limits(self, dataset: Dataset) -> str:
        return (
            f"It acts in {dataset.name} alone, on observations of {', '.join(self.fitted(dataset).columns)}; where training "
            "never was, its values are guesses."
        )

    def look(self, dataset: Dataset) -> Look:
        return look_at(dataset, self.fitted(dataset).features)

    def show(self, axes: Axes, example: Batch, dataset: Dataset) -> None:
        from nnatomy.data.kinds.environment.scenes import scene

        preprocessing = self.fitted(dataset)
        scene(preprocessing.source, preprocessing.columns)(axes, preprocessing.inverse(example[0])[0])


KIND = EnvironmentKind()
