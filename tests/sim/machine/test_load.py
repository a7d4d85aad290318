"""Machine files: the shipped ones, what they derive, variants, settings, and how a wrong file is reported."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from sim.machine.load import list_machines, load_machine, read_machine
from sim.machine.network_spec import TorusSpec
from sim.problems import BadInput, Problem


def problems_of(file: Path, overrides: tuple[str, ...] = ()) -> dict[str, Problem]:
    with pytest.raises(BadInput) as caught:
        load_machine(file, overrides)
    return {problem.key: problem for problem in caught.value.problems}


@pytest.fixture
def variant(tmp_path: Path) -> Path:
    return tmp_path / "variant.yaml"


def test_peaks_and_cores_of_taihulight() -> None:
    machine = load_machine("sunway_taihulight")
    assert machine.processor.core_group_cpe_peak_flops == pytest.approx(742.4e9)
    assert machine.processor.peak_flops == pytest.approx(3.0624e12)
    assert machine.peak_flops == pytest.approx(125.4e15, rel=1e-3)
    assert machine.cores == 10_649_600
    assert machine.network.supernodes == 160
    assert machine.name == "sunway_taihulight"


def test_peaks_of_the_machines_to_compare_with() -> None:
    cluster, new = load_machine("k40m_cluster"), load_machine("sunway_oceanlight")
    assert cluster.cores == 648 * 2880
    assert cluster.computing.peak_flops_of("fp32") == pytest.approx(4.29e12)
    assert cluster.peak_flops == pytest.approx(648 * 1.43e12)
    assert cluster.network.reduction.core_group_seconds_per_byte == pytest.approx(3 / (0.74 * 288e9))
    assert 384 * new.processor.cpe.flops_per_cycle * new.processor.clock_hertz == pytest.approx(13.824e12)
    assert new.computing.cores == 390
    assert new.node_memory_bytes == 96 * 1024**3
    assert new.sources["processor.cpe.ldm"] == "P-toms"
    assert new.sources["processor.dma.pending"] == "THESIS 3.1.2"


def test_devices_are_no_core_groups() -> None:
    machine = load_machine("k40m_node")
    with pytest.raises(
        BadInput, match=r"processor: expected a machine with core groups: .* predict, serve and compare"
    ):
        _ = machine.processor
    assert load_machine("sunway_taihulight").roofline is None


def test_a_machine_without_a_kind_has_core_groups(variant: Path) -> None:
    shipped = (Path(__file__).parents[3] / "machine_configs" / "sunway_taihulight.yaml").read_text()
    variant.write_text(shipped.replace("  kind: many_core\n", ""))
    assert load_machine(variant).processor == load_machine("sunway_taihulight").processor
    variant.write_text("extends: k40m_node\nprocessor:\n  launch: 5 us\n")
    found = load_machine(variant).roofline
    assert found is not None
    assert found.launch_seconds == pytest.approx(5e-6)


def test_kinds_of_processor_and_power_go_together(variant: Path) -> None:
    power = "\n".join(
        f"  {key}: {{value: 1 W, source: none}}"
        for key in ("device_idle", "device_busy", "host_idle", "host_core_busy", "interface_static")
    )
    more = "\n".join(
        f"  {key}: {{value: {value}, source: none}}"
        for key, value in (("interface_transfer", "1 W"), ("switch_static", "1 W"), ("switch_transfer", "1 W"),
                           ("conversion", "1.1"), ("storage", "1 W"))
    )  # fmt: skip
    variant.write_text(f"extends: sunway_taihulight\npower:\n  kind: roofline\n{power}\n{more}\n")
    found = problems_of(variant)
    assert found["power.kind"].expected == "many_core, as processor.kind is"
    assert found["power.kind"].line == 3


def test_efficiencies_are_portions() -> None:
    assert load_machine("k40m_node", ["processor.efficiency.memory=1"]).roofline is not None
    with pytest.raises(BadInput, match=r"processor\.efficiency\.memory: expected a number above 0 and up to 1"):
        load_machine("k40m_node", ["processor.efficiency.memory=0"])


@pytest.mark.parametrize("name", list_machines())
def test_every_shipped_machine_loads_and_every_number_has_a_source(name: str) -> None:
    machine = read_machine(name)
    assert all(parameter.source for parameter in machine.parameters)
    assert set(machine.spec.sources) == {parameter.key for parameter in machine.parameters}


def numbers(section: object) -> int:
    """Numbers in a description and all below it."""
    if isinstance(section, int | float):
        return 1
    if isinstance(section, tuple) and section and isinstance(section[0], tuple):
        return len(section)
    if isinstance(section, tuple):
        return 1
    return sum(numbers(getattr(section, each.name)) for each in fields(section)) if is_dataclass(section) else 0


@pytest.mark.parametrize("name", list_machines())
def test_every_field_of_the_description_comes_from_the_file(name: str) -> None:
    spec = load_machine(name)
    sections = (spec.computing, spec.network, spec.noise, spec.storage, spec.power, spec.faults)
    unsaid = int(spec.network.topology.kind == "single_switch")  # the time that one switch adds
    derived = 2  # what core groups and chip take to add: three numbers, of which the file says one
    assert sum(map(numbers, sections)) == len(spec.sources) + unsaid + derived


def test_a_machine_can_be_named_by_path(variant: Path) -> None:
    variant.write_text("extends: sunway_taihulight\n")
    assert load_machine(variant).processor == load_machine("sunway_taihulight").processor
    assert load_machine(str(variant)).name == "variant"


def test_the_shipped_variant_differs_in_its_scratchpad_only() -> None:
    base, variant = read_machine("sunway_taihulight"), read_machine("taihulight_ldm128k")
    pairs = zip(base.parameters, variant.parameters, strict=True)
    assert [(one.key, other.text) for one, other in pairs if one.value != other.value] == [
        ("processor.cpe.ldm", "128 KiB")
    ]
    assert variant.spec.sources["processor.cpe.ldm"] == "set in taihulight_ldm128k.yaml"


def test_a_variant_may_give_value_source_and_note(variant: Path) -> None:
    variant.write_text(
        "extends: taihulight_ldm128k\n"
        "processor:\n"
        "  clock: {value: 2.25 GHz, source: vendor}\n"
        "  core_groups: {value: 6, note: two more}\n"
    )
    machine = load_machine(variant)
    assert machine.processor.clock_hertz == 2.25e9
    assert machine.processor.cpe.ldm_bytes == 128 * 1024
    assert machine.sources["processor.clock"] == "vendor"
    assert machine.sources["processor.core_groups"] == "set in variant.yaml"
    assert machine.sources["processor.cpe.ldm"] == "set in taihulight_ldm128k.yaml"


@pytest.mark.parametrize("text", ["128KiB", "128 KiB", " 131072 B", "'128 KiB'"])
def test_a_setting_changes_value_and_source(text: str) -> None:
    machine = load_machine("sunway_taihulight", [f"processor.cpe.ldm={text}"])
    assert machine.processor.cpe.ldm_bytes == 128 * 1024
    assert machine.sources["processor.cpe.ldm"] == "set on the command line"


def test_the_last_setting_wins() -> None:
    settings = ["network.nodes=512", "network.nodes=1024"]
    assert load_machine("sunway_taihulight", settings).nodes == 1024


def test_all_problems_of_a_file_are_reported_at_once(variant: Path) -> None:
    variant.write_text(
        "extends: sunway_taihulight\n"
        "processor:\n"
        "  clok: 1.45 GHz\n"
        "  clock: 1450\n"
        "  memory:\n"
        "    bandwidth: -34.1 GB/s\n"
        "    capacity: 8 GHz\n"
        "network:\n"
        "  nodes:\n"
    )
    found = problems_of(variant, ("power.chip_stati=1 W", "processor.mesh.rows=eight"))
    assert {key: problem.line for key, problem in found.items()} == {
        "processor.clok": 3,
        "processor.clock": 4,
        "processor.memory.bandwidth": 6,
        "processor.memory.capacity": 7,
        "network.nodes": 9,
        "power.chip_stati": None,
        "processor.mesh.rows": None,
    }
    assert found["processor.clok"].nearest == "processor.clock"
    assert "such as '1.45 GHz' (the unit is missing)" in found["processor.clock"].expected
    assert "such as '34.1 GB/s' (above zero)" in found["processor.memory.bandwidth"].expected
    assert "'GHz' belongs to a frequency" in found["processor.memory.capacity"].expected
    assert found["power.chip_stati"].nearest == "power.chip_static"
    assert found["power.chip_stati"].file == "--set machine.power.chip_stati=1 W"
    assert found["processor.mesh.rows"].value == "eight"
    assert found["processor.clock"].file == str(variant)


def test_a_file_that_stands_alone_needs_sources(variant: Path) -> None:
    variant.write_text("title: mine\npower:\n  chip_static: 375 W\n")
    found = problems_of(variant)
    assert found["power.chip_static"].expected == "a mapping with value and source"
    variant.write_text("title: mine\npower:\n  chip_static: {value: 375 W}\n")
    assert "missing" in problems_of(variant)["power.chip_static.source"].expected


@pytest.mark.parametrize(
    ("setting", "key", "expected"),
    [
        ("processor.cpe.ldm=100 B", "processor.cpe.ldm", "a multiple of 32 B"),
        ("processor.mesh.transfer=4 B", "processor.mesh.transfer", "a multiple of 8 B"),
        ("processor.dma.line=100 B", "processor.dma.line", "a power of two"),
        ("processor.dma.partial_put_block=1 KiB", "processor.dma.partial_put_block", "at most processor.dma.line"),
        ("processor.dma.line_time=2 ns", "processor.dma.line_time", "64 GB/s is above 34.1 GB/s; change both"),
        ("processor.memory.alignment=100 B", "processor.memory.alignment", "a power of two"),
        ("network.nodes=100", "network.topology.supernode_nodes", r"at most network.nodes \(100\)"),
        ("storage.arrays=1000", "storage.process_bandwidth", r"at most what one of 1000 arrays gives \(0.288 GB/s\)"),
        ("storage.forwarding_bandwidth=200 MB/s", "storage.process_bandwidth", r"at most storage.* \(0.2 GB/s\)"),
        ("network.link.node_bandwidth=20 GB/s", "network.link.node_duplex_bandwidth", "between one and two times"),
    ],
)
def test_contradictions_name_the_setting_and_both_parameters(setting: str, key: str, expected: str) -> None:
    with pytest.raises(BadInput, match=expected) as caught:
        load_machine("sunway_taihulight", [setting])
    (problem,) = caught.value.problems
    assert (problem.file, problem.key) == (f"--set machine.{setting}", key)


@pytest.mark.parametrize(
    ("machine", "setting", "expected"),
    [
        ("taihulight_fat_tree", "network.topology.levels=2", "at most 1,152, the nodes below the top of the tree"),
        ("taihulight_torus", "network.topology.dimensions=32 x 32", "at most 1,024, the product"),
        ("taihulight_dragonfly", "network.topology.group_routers=4", "at most 2,624: 40 global links"),
    ],
)
def test_a_network_has_room_for_all_nodes(machine: str, setting: str, expected: str) -> None:
    with pytest.raises(BadInput, match=expected) as caught:
        load_machine(machine, [setting])
    assert caught.value.problems[0].key == "network.nodes"
    assert caught.value.problems[0].file == f"--set machine.{setting}"


def test_a_section_of_another_kind_replaces_what_it_extends(variant: Path) -> None:
    variant.write_text(
        "extends: sunway_taihulight\nnetwork:\n  topology: {kind: torus, dimensions: 4 x 4, "
        "link_bandwidth: 1 GB/s, hop_latency: 1 us}\n  nodes: 16\n"
    )
    machine = load_machine(variant)
    assert machine.network.topology == TorusSpec(dimensions=(4, 4), link_bytes_per_second=1e9, hop_latency_seconds=1e-6)
    assert machine.sources["network.topology.dimensions"] == "set in variant.yaml"
    assert machine.network.supernodes is None


def test_a_section_without_a_kind_changes_what_it_extends(variant: Path) -> None:
    variant.write_text("extends: sunway_taihulight\nnetwork:\n  topology:\n    supernode_nodes: 128\n")
    assert load_machine(variant).network.supernodes == 320


@pytest.mark.parametrize(
    ("setting", "expected", "near"),
    [
        ("network.topology.kind=tours", "one of 'two_level_tree', 'fat_tree'", "torus"),
        ("network.topology.supernode_node=7", "one of the keys kind", "network.topology.supernode_nodes"),
        ("network.topology.dimensions=4 x 4", "one of the keys kind", None),
        ("noise.compute_jitter=1.5", "a number from 0 to 1", None),
    ],
)
def test_wrong_topologies_and_noise(setting: str, expected: str, near: str | None) -> None:
    with pytest.raises(BadInput, match=expected) as caught:
        load_machine("sunway_taihulight", [setting])
    (problem,) = caught.value.problems
    assert problem.nearest == near


def test_contradictions_are_reported_together() -> None:
    with pytest.raises(BadInput) as caught:
        load_machine("sunway_taihulight", ["processor.cpe.ldm=100 B", "network.nodes=100"])
    assert len(caught.value.problems) == 2


def test_an_unknown_machine_is_told_the_nearest_one() -> None:
    with pytest.raises(BadInput, match=r"did you mean 'sunway_taihulight'\?"):
        load_machine("sunway_taihuligth")
