"""Models in ONNX files, operator set 13 and newer, with their weights."""

from nnlib.importers.onnx.importer import Origin
from nnlib.importers.onnx.load import Imported, load_onnx

__all__ = ["Imported", "Origin", "load_onnx"]
