# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Lightning callbacks: data checked before training, a preview of what is taught, phases of training."""

from anomalib_plugins.callbacks.data_check import DataCheck, DataCheckError
from anomalib_plugins.callbacks.phases import PhaseSchedule
from anomalib_plugins.callbacks.preview import SynthesisPreview

__all__ = ["DataCheck", "DataCheckError", "PhaseSchedule", "SynthesisPreview"]
