"""Exchange with other libraries: the Hugging Face hub, Minari datasets, and models as ONNX.

- :mod:`~wmrl.export.hub`: repositories of the Hugging Face hub (``from_pretrained``,
  ``push_to_hub``, ``save_pretrained``).
- :mod:`~wmrl.export.model_card`: model cards of artifacts.
- :mod:`~wmrl.export.minari_export`: rollout stores as Minari datasets (``to_minari``).
- :mod:`~wmrl.export.minari_import`: Minari datasets as rollout stores (``MinariWarning``,
  ``from_minari``).
- :mod:`~wmrl.export.onnx_export`: vision models and memories as ONNX files (``OnnxExport``,
  ``OnnxExportError``, ``export_onnx``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.export._onnx_conversion import OnnxExportError
    from wmrl.export.hub import from_pretrained, push_to_hub, save_pretrained
    from wmrl.export.minari_export import to_minari
    from wmrl.export.minari_import import MinariWarning, from_minari
    from wmrl.export.onnx_export import OnnxExport, export_onnx
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "MinariWarning",
    "OnnxExport",
    "OnnxExportError",
    "export_onnx",
    "from_minari",
    "from_pretrained",
    "push_to_hub",
    "save_pretrained",
    "to_minari",
]
