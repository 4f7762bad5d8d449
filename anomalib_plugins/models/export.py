# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Exported files of every model of this package."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anomalib.data import AnomalibDataModule
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from anomalib_plugins.components.resize import refuse_unexportable
from anomalib_plugins.errors import UserError
from anomalib_plugins.models.calibration import tell_missing_threshold
from anomalib_plugins.models.quantization import quantize, quantize_within, report_quantization_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomalib.models import AnomalibModule

OPSET = 18  # the oldest that torch's exporter writes


def tell_opset(path: Path, asked: int) -> None:
    """Say so if an ONNX file is of another opset than was asked for.

    Args:
        path: The file.
        asked: The opset.
    """
    import onnx

    written = next(each.version for each in onnx.load(path, load_external_data=False).opset_import if not each.domain)
    if written != asked:
        rank_zero_warn(f"{path.name} is of ONNX opset {written}: torch's exporter cannot write {asked}.")


class ExportModule:
    """Mixin in front of anomalib's ``ExportMixin``."""

    def to_onnx(
        self,
        export_root: Path | str,
        model_file_name: str = "model",
        input_size: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> Path:
        """Export; with the default pre-processor the file takes images of any size.

        Args:
            export_root: Folder of the results.
            model_file_name: Name of the file, without ending.
            input_size: Height and width to fix the input to; ``None`` keeps it open.
            kwargs: Of ``torch.onnx.export``.

        Raises:
            ValueError: If nothing says how large the images are, or the pre-processor cannot be exported as it trains.
        """
        if input_size is None and getattr(self, "input_size", None) is None:
            msg = "a model without a resizing pre-processor needs input_size, e.g. --input_size '[256, 256]'"
            raise UserError(msg)
        tell_missing_threshold(cast("AnomalibModule", self))
        refuse_unexportable(self.pre_processor, input_size)  # type: ignore[attr-defined]
        kwargs.setdefault("external_data", False)  # one file, but for what is larger than 2 GB
        asked = kwargs.get("opset_version", OPSET)
        kwargs["opset_version"] = max(asked, OPSET)  # an older one would end in a traceback, and in this one
        path = super().to_onnx(export_root, model_file_name, input_size, **kwargs)  # type: ignore[misc]
        tell_opset(path, asked)
        return path

    def _post_training_quantization_ov(self, model: Any, datamodule: AnomalibDataModule | None = None) -> Any:
        """Calibrate on training images of the model's size; anomalib 2.7 takes validation images of any.

        Says what image AUROC of the validation images was, and is; warns if too much is lost.
        """
        if datamodule is None:
            msg = "INT8_PTQ calibrates on training images: name the datamodule, e.g. --data Folder --data.root photos"
            raise UserError(msg)
        size = cast("Sequence[int]", self.input_size)  # type: ignore[attr-defined]
        small = quantize(model, datamodule, size)
        report_quantization_loss(model, small, datamodule.val_dataloader().dataset, size)
        return small

    def _accuracy_control_quantization_ov(
        self,
        model: Any,
        datamodule: AnomalibDataModule | None = None,
        metric: Any = None,
        task: Any = None,
        max_drop: float = 0.01,
    ) -> Any:
        """Calibrate as INT8_PTQ does, and keep in floats what a metric of the validation images loses by."""
        del task
        if datamodule is None:
            msg = "INT8_ACQ calibrates on training images: name the datamodule, e.g. --data Folder --data.root photos"
            raise UserError(msg)
        return quantize_within(model, datamodule, self.input_size, metric, max_drop)  # type: ignore[attr-defined]
