"""`predict`: a trained run, or the file that one was exported to, on new data."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from nnatomy.errors import UserError
from nnatomy.runs import trained
from nnatomy.runs.trained import TrainedRun
from nnatomy.tasks import Answer


def predict(
    run: str | Path | TrainedRun, data: Any, *, backend: str | None = None, device: str | None = None, progress: bool = False
) -> Answer:
    """Return the predictions of a trained run, or of the .onnx file it was exported to; the first column names the rows.

    Args:
        run: a folder, an exported file, or what `load_run` returned
        data: a file, an array or a frame; targets are not needed
        backend, device: where they are computed, if not where the run was trained
        progress: print what was noticed in the data
    """
    if not (isinstance(run, str | PathLike) and Path(run).suffix == ".onnx" and not Path(run).is_dir()):
        return trained.predict(run, data, backend=backend, device=device, progress=progress)
    if given := backend or device:
        raise UserError(f"ONNX Runtime runs an exported file. Received {given}. Leave out --backend and --device.")
    from nnatomy.exporting.predicting import predict_exported

    return predict_exported(run, data, progress=progress)
