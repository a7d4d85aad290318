"""Networks that PyTorch exports to ONNX answer as ONNX Runtime does, and learn as PyTorch does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnlib.batch import Batch
from nnlib.importers.onnx import Imported, load_onnx
from nnlib.layers.layer import Run
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.losses.loss import Loss
from nnlib.losses.regression import MeanSquaredError
from nnlib.model import Gradients, Model
from tests.nnlib.importers.graphs import check_model
from tests.nnlib.parity import check_same

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
twins = pytest.importorskip("tests.nnlib.parity.onnx_twins")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.numeric,
    # what PyTorch's exporters say of themselves and of its own layers
    pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Exporting a model to ONNX with a batch_size other than 1:UserWarning"),
    pytest.mark.filterwarnings("ignore:_check_is_size will be removed:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The tensor attributes? self.recurrent._flat_weights:UserWarning"),
    pytest.mark.filterwarnings(r"ignore:.isinstance\(treespec, LeafSpec\). is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting `training` to something other than default:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:ONNX Preprocess - Removing mutation from node aten..add_:UserWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
TOLERANCE = 1e-7
"""In double precision; the file has its numbers in single precision."""

ROUNDING = 1e-15


def export(network: Any, x: Any, path: Path, exporter: str, *, batch: str | None, training: bool = False) -> Any:
    """The file's model; ``batch`` names an axis of any length. In ``training`` nothing is computed beforehand."""
    if exporter == "dynamo":
        shapes = None if batch is None else ({0: torch.export.Dim(batch)},)
        program = torch.onnx.export(network, (x,), dynamo=True, verbose=False, dynamic_shapes=shapes)
        program.save(str(path))
    else:
        torch.onnx.export(
            network,
            (x,),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            dynamic_axes={} if batch is None else {"x": {0: batch}},
            training=torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL,
            do_constant_folding=not training,
        )
    return onnx.load(str(path))


NAMES = list(twins.TWINS)
EXPORTS = [
    *((name, "torchscript", batch) for name in NAMES for batch in ("samples", None)),
    *((name, "dynamo", None) for name in NAMES),
    *((name, "dynamo", "samples") for name in ("transformer", "lstm")),
]
LEARNING = [
    *((name, "torchscript", not name.startswith(("lstm", "gru"))) for name in NAMES),
    *((name, "dynamo", False) for name in ("transformer", "transformer of steps", "lstm")),
]
"""Which exporter, and whether in training: gates are put in ONNX's order beforehand, or could not be learned."""


@pytest.mark.parametrize(("name", "exporter", "batch"), EXPORTS)
def test_outputs_are_those_of_onnx_runtime(name: str, exporter: str, batch: str | None, tmp_path: Path) -> None:
    twin = twins.TWINS[name]
    x = twin.inputs(torch.Generator().manual_seed(1))
    proto = export(twin.network().eval(), x, tmp_path / "exported.onnx", exporter, batch=batch)
    check_model(tmp_path, proto, {proto.graph.input[0].name: x.numpy()})


@pytest.mark.parametrize(("name", "exporter", "training"), LEARNING)
def test_gradients_are_those_of_pytorch(name: str, exporter: str, training: bool, tmp_path: Path) -> None:
    twin = twins.TWINS[name]
    generator = torch.Generator().manual_seed(2)
    x, network, path = twin.inputs(generator), twin.network(), tmp_path / "exported.onnx"
    proto = export(network.train(training), x, path, exporter, batch=None, training=training)
    network = twin.network().double().train()
    known = {each.name: onnx.numpy_helper.to_array(each) for each in proto.graph.initializer}
    for key, buffer in network.named_buffers():
        if key in known:  # exporting in training moves statistics on
            buffer.copy_(torch.from_numpy(known[key].copy()))
    found = load_onnx(path)
    outputs = network(x if twin.tokens else x.double())
    if twin.loss == "mean_squared_error":
        target = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
    else:
        target = torch.randint(0, outputs.shape[-1], outputs.shape[:-1], generator=generator)
    loss = twins.loss_of(twin, outputs, target)
    loss.backward()
    ours = gradients(found, twin, x, target)
    assert ours.loss == pytest.approx(loss.item(), rel=TOLERANCE)
    check_parameters(found, ours, network, known)
    check_statistics(found, ours, network, proto)


def gradients(found: Imported, twin: Any, x: Any, target: Any) -> Gradients:
    """The library's, of the whole batch in training."""
    kind: type[Loss] = MeanSquaredError if twin.loss == "mean_squared_error" else CrossEntropy
    model = Model(found.graph, (kind(outputs=(found.graph.output,)),))
    variables = {name: array.astype(np.float64) for name, array in found.variables.items()}
    (name,) = (each.name for each in found.graph.inputs)
    batch = Batch(inputs={name: x.numpy()}, targets={model.losses[0].target or "": target.numpy()})
    double = batch.astype(np.dtype(np.float64))
    return model.gradients(variables, double, np.ones(len(batch)), run=Run(training=True))


def check_parameters(found: Imported, ours: Gradients, network: Any, known: dict[str, np.ndarray]) -> None:
    """Every parameter's gradient once: by the initialiser that it came from, or gate by gate."""
    theirs = {name: (each.detach().numpy(), each.grad.numpy()) for name, each in network.named_parameters()}
    seen = set()
    for name, origin in found.origins.items():
        array = known[origin.initialiser].astype(np.float64)
        own = [each for each, (value, _) in theirs.items() if value.size == array.size and same(value, array)]
        assert len(own) == 1, (name, own)
        seen.add(own[0])
        value, grad = theirs[own[0]]
        turned = grad if value.shape == array.shape and np.array_equal(value, array) else grad.T
        gradient = ours.parameters[name]
        check_gradient(gradient, turned.transpose(origin.axes).reshape(gradient.shape), name)
    recurrent = {name.rpartition(".")[0] for name in ours.parameters if name not in found.origins}
    for layer in recurrent:
        check_gates(ours, layer, theirs)
        seen.update(name for name in theirs if name.startswith("recurrent."))
    assert seen == set(theirs)


def check_gradient(found: np.ndarray, expected: np.ndarray, name: str) -> None:
    """A gradient that is 0 but for rounding, as of a bias before batch normalisation, is so in both."""
    if max(np.abs(found).max(), np.abs(expected).max()) > ROUNDING:
        check_same(found, expected, name, tolerance=TOLERANCE)


def same(value: np.ndarray, array: np.ndarray) -> bool:
    return any(each.shape == array.shape and np.array_equal(each, array) for each in (value, value.T))


def check_gates(ours: Gradients, layer: str, theirs: dict[str, Any]) -> None:
    """The library has the gates in PyTorch's order; of two biases that are added there is one here."""
    for suffix in ("", "_reverse"):
        if f"{layer}.weight{suffix}" not in ours.parameters:
            continue
        parts = {"weight": "weight_ih", "recurrent": "weight_hh", "bias": "bias_ih", "recurrent_bias": "bias_hh"}
        for own, other in parts.items():
            name = f"{layer}.{own}{suffix}"
            if name in ours.parameters:
                gradient = ours.parameters[name]
                expected = theirs[f"recurrent.{other}_l0{suffix}"][1].T
                check_gradient(gradient, expected[..., -gradient.shape[-1] :], name)


def check_statistics(found: Imported, ours: Gradients, network: Any, proto: Any) -> None:
    """Running means and variances after the batch, of all batch normalisations that the file has."""
    expected = {
        name: each.numpy() for name, each in network.named_buffers() if not name.endswith("num_batches_tracked")
    }
    nodes = [each for each in proto.graph.node if each.op_type == "BatchNormalization"]
    layers = [each.layer.name for each in found.graph.nodes if type(each.layer).__name__ == "BatchNorm"]
    assert len(layers) == len(nodes) == len(expected) // 2
    for layer, node in zip(layers, nodes, strict=True):
        for own, name in zip(("mean", "variance"), node.input[3:], strict=True):
            check_same(ours.statistics[f"{layer}.{own}"], expected[name], name, tolerance=TOLERANCE)
