"""Programs: which buffers live when, what waits for what, and what a builder refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nnlib.kernels.fixed.fixed_point import Quantise
from nnlib.kernels.pointwise.elementwise import BiasAdd, Elementwise, SumCopies
from nnlib.lowering import lower_gradients
from nnlib.models.catalogue import MODELS
from nnlib.precision import DTypeName
from nnlib.program import Program, ProgramBuilder

RELU = Elementwise("relu", 12, "fp64")


def builder(dtype: DTypeName = "fp64", *names: str) -> ProgramBuilder:
    """A builder with an input ``x`` and activations of 12 numbers each."""
    found = ProgramBuilder(dtype=dtype, alignment=128)
    found.buffer("x", (3, 4), "input")
    for name in names:
        found.buffer(name, (12,))
    return found


def relu(build: ProgramBuilder, x: str, y: str) -> None:
    build.launch(replace(RELU, dtype=build.dtype), layer=y, phase="forward", x=x, y=y)


def chain(dtype: DTypeName = "fp64") -> Program:
    """x -> a (12 numbers), summed to b (4), -> c (4); a parameter of 5 and a gradient of 1 are beside."""
    build = builder(dtype, "a")
    build.buffer("weight", (5,), "parameter")
    build.buffer("grad", (1,), "gradient")
    build.buffer("b", (4,))
    build.buffer("c", (2, 2))
    relu(build, "x", "a")
    build.launch(SumCopies(count=3, elements=4, dtype=dtype), layer="b", phase="forward", copies="a", total="b")
    build.launch(Elementwise("relu", 4, dtype), layer="c", phase="forward", x="b", y="c")
    return build.finish()


def test_an_activation_lives_from_its_first_to_its_last_launch() -> None:
    buffers = chain().buffers
    lives = {name: (buffer.first, buffer.last) for name, buffer in buffers.items() if buffer.role == "activation"}
    assert lives == {"a": (0, 1), "b": (1, 2), "c": (2, 2)}
    assert {name: buffer.role for name, buffer in buffers.items() if buffer.role != "activation"} == {
        "x": "input",
        "weight": "parameter",
        "grad": "gradient",
    }
    assert {name: buffer.shape for name, buffer in buffers.items()} == {
        "x": (3, 4),
        "a": (12,),
        "weight": (5,),
        "grad": (1,),
        "b": (4,),
        "c": (2, 2),
    }


@pytest.mark.parametrize(("dtype", "item"), [("fp64", 8), ("fp32", 4)])
def test_the_high_water_mark_by_hand(dtype: DTypeName, item: int) -> None:
    # x, weight and grad always: 18 numbers; then a, a + b, b + c: 12, 16 and 8
    assert chain(dtype).memory_bytes == (18 + 16) * item


def test_buffers_begin_aligned_and_do_not_overlap() -> None:
    buffers = sorted(chain().buffers.values(), key=lambda buffer: buffer.address)
    assert [buffer.address for buffer in buffers] == [0, 128, 256, 384, 512, 640]
    assert [buffer.name for buffer in buffers] == ["x", "a", "weight", "grad", "b", "c"]
    larger = builder("fp64", "a")
    larger.buffer("wide", (17,))
    larger.buffer("behind", (1,))
    # 17 numbers are 136 bytes: two lines
    placed = larger.finish().buffers
    assert placed["behind"].address - placed["wide"].address == 256


def test_dependences_by_hand() -> None:
    build = builder("fp64", "a", "b", "c", "d")
    build.buffer("bias", (4,), "parameter")
    relu(build, "x", "a")
    relu(build, "a", "b")  # reads what 0 wrote
    relu(build, "x", "a")  # overwrites what 0 wrote and 1 read
    relu(build, "x", "c")  # nobody is in its way: two may read x
    build.launch(BiasAdd(rows=3, channels=4, dtype="fp64"), layer="l", phase="forward", y="b", bias="bias")  # changes 1
    relu(build, "b", "d")  # reads what 4 changed, not what 1 wrote
    relu(build, "c", "c")  # in place: waits for 3, not for itself
    relu(build, "c", "d")  # reads what 6 wrote, overwrites what 5 wrote
    needs = [set(), {0}, {0, 1}, set(), {1}, {4}, {3}, {5, 6}]
    assert build.finish().dependences() == tuple(frozenset(each) for each in needs)


def test_an_alias_is_the_same_bytes() -> None:
    build = builder("fp64", "a", "b")
    build.alias("flat", "a")
    build.alias("flatter", "flat")
    relu(build, "x", "a")
    relu(build, "flatter", "b")
    program = build.finish()
    assert program.launches[1].arguments == {"x": "a", "y": "b"}
    assert program.dependences()[1] == {0}
    assert (program.buffers["a"].first, program.buffers["a"].last) == (0, 1)
    assert build.resolve("flatter") == build.resolve("flat") == build.resolve("a") == "a"
    assert "flat" not in program.buffers


def test_a_missing_argument_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layer: relu wants y \(12,\), got None"):
        builder().launch(RELU, layer="layer", phase="forward", x="x")


def test_an_argument_of_another_size_is_refused() -> None:
    build = builder()
    build.buffer("short", (11,))
    with pytest.raises(ValueError, match=r"layer: relu wants y \(12,\), got short"):
        build.launch(RELU, layer="layer", phase="forward", x="x", y="short")


def test_a_buffer_declared_twice_is_refused() -> None:
    build = builder()
    with pytest.raises(ValueError, match="'x' is declared twice"):
        build.buffer("x", (12,))


def test_a_buffer_under_the_name_of_an_alias_is_refused() -> None:
    build = builder()
    build.alias("flat", "x")
    with pytest.raises(ValueError, match="'flat' is declared twice"):
        build.buffer("flat", (12,))


def test_an_alias_under_the_name_of_a_buffer_is_refused() -> None:
    build = builder("fp64", "a")
    with pytest.raises(ValueError, match="'a' is declared twice"):
        build.alias("a", "x")


def test_no_launches() -> None:
    program = ProgramBuilder(dtype="fp64", alignment=128).finish()
    assert (program.launches, dict(program.buffers), program.memory_bytes, program.dependences()) == ((), {}, 0, ())


def test_buffers_may_be_stored_in_formats_of_their_own() -> None:
    build = builder("fp64")
    build.buffer("q", (12, 1), dtype="int8")
    build.buffer("step", (1,), dtype="fp64")
    build.buffer("saturated", (1,), dtype="int32")
    arguments = {"x": "x", "step": "step", "q": "q", "saturated": "saturated"}
    build.launch(Quantise(12, 1, "int8"), layer="l", phase="forward", **arguments)
    with pytest.raises(ValueError, match="wants q in int16, q is in int8"):
        build.launch(Quantise(12, 1, "int16"), layer="l", phase="forward", **arguments)
    program = build.finish()
    assert program.buffer("q").nbytes == 12
    assert program.memory_bytes == 12 * 8 + 12 + 8 + 4


@pytest.mark.parametrize("recompute", [False, True])
def test_the_high_water_mark_is_the_most_that_lives_at_any_launch(recompute: bool) -> None:
    model = MODELS["googlenet"]()
    program = lower_gradients(model=model, batch=2, dtype="fp32", recompute=recompute)
    live = [
        sum(
            each.nbytes
            for each in program.buffers.values()
            if each.role != "activation" or each.first <= at <= each.last
        )
        for at in range(len(program.launches))
    ]
    assert program.memory_bytes == max(live)
