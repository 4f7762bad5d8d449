# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Exported files of every model of this package."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from anomalib.data import AnomalibDataModule
from anomalib.deploy import CompressionType, ExportType
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from anomalib_plugins.components.resize import refuse_unexportable
from anomalib_plugins.errors import UserError
from anomalib_plugins.models.calibration import tell_missing_threshold
from anomalib_plugins.models.quantization import quantize, quantize_within, report_quantization_loss

# A mixin: anomalib's list of models is the direct subclasses of AnomalibModule.
if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomalib.models import AnomalibModule
else:
    AnomalibModule = object

OPSET = 18  # the oldest that torch's exporter writes


def tell_opset(path: Path, asked: int) -> None:
    """Warn if an ONNX file is of another opset than was asked for."""
    import onnx

    written = next(each.version for each in onnx.load(path, load_external_data=False).opset_import if not each.domain)
    if written != asked:
        rank_zero_warn(f"{path.name} is of ONNX opset {written}: torch's exporter cannot write {asked}.")


class ExportModule(AnomalibModule):
    """Mixin in front of ``AnomalibModule`` for files that predict what the model does."""

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
            kwargs: Arguments of ``torch.onnx.export``.

        Raises:
            ValueError: If nothing says how large the images are, or the pre-processor cannot be exported as it trains.
        """
        if input_size is None and getattr(self, "input_size", None) is None:
            msg = "a model without a resizing pre-processor needs input_size, e.g. --input_size '[256, 256]'"
            raise UserError(msg)
        tell_missing_threshold(self)
        refuse_unexportable(self.pre_processor, input_size)
        kwargs.setdefault("external_data", False)  # one file, but for what is larger than 2 GB
        asked = kwargs.get("opset_version", OPSET)
        kwargs["opset_version"] = max(asked, OPSET)  # an older one would end in a traceback, and in this one
        path = super().to_onnx(export_root, model_file_name, input_size, **kwargs)
        tell_opset(path, asked)
        return path

    def to_openvino(
        self,
        export_root: Path | str,
        model_file_name: str = "model",
        input_size: tuple[int, int] | None = None,
        compression_type: CompressionType | None = None,
        datamodule: AnomalibDataModule | None = None,
        metric: Any = None,
        task: Any = None,
        max_drop: float = 0.01,
        ov_kwargs: dict[str, Any] | None = None,
        onnx_kwargs: dict[str, Any] | None = None,
    ) -> Path:
        """Export as anomalib does; with 8 bits, calibrated on training images of the model's size.

        ``INT8_PTQ`` says what image AUROC of the validation images was and is, and warns if too much is lost;
        ``INT8_ACQ`` keeps in floats what a metric of the validation images loses by.

        Args:
            export_root: Folder of the results.
            model_file_name: Name of the file, without ending.
            input_size: Height and width to fix the input to; ``None`` keeps it open.
            compression_type: Compression of the weights.
            datamodule: Images that 8 bits are calibrated on.
            metric: Metric of anomalib that ``INT8_ACQ`` judges by; default image F1.
            task: Not used.
            max_drop: How much the metric may fall.
            ov_kwargs: Arguments of ``openvino.convert_model``.
            onnx_kwargs: Arguments of :meth:`to_onnx`.

        Raises:
            ValueError: If 8 bits are to be calibrated without a datamodule.
        """
        compression_type = None if compression_type is None else CompressionType(compression_type)
        if compression_type not in {CompressionType.INT8_PTQ, CompressionType.INT8_ACQ}:
            options = {"compression_type": compression_type, "datamodule": datamodule, "metric": metric, "task": task}
            more = {"max_drop": max_drop, "ov_kwargs": ov_kwargs, "onnx_kwargs": onnx_kwargs}
            return super().to_openvino(export_root, model_file_name, input_size, **options, **more)
        if datamodule is None:
            name = compression_type.name
            msg = f"{name} calibrates on training images: name the datamodule, e.g. --data Folder --data.root photos"
            raise UserError(msg)
        import openvino

        size = cast("Sequence[int]", input_size or self.input_size)
        with TemporaryDirectory() as folder:
            onnx = self.to_onnx(folder, model_file_name, input_size, **(onnx_kwargs or {}))
            network = openvino.convert_model(onnx, **(ov_kwargs or {}))
            if compression_type is CompressionType.INT8_ACQ:
                small = quantize_within(network, datamodule, size, metric, max_drop)
            else:
                small = quantize(network, datamodule, size)
                report_quantization_loss(network, small, datamodule.val_dataloader().dataset, size)
            path = Path(export_root) / "weights" / ExportType.OPENVINO.value / f"{model_file_name}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            openvino.save_model(small, path, compress_to_fp16=False)
        return path
