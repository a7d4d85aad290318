"""The network that a machine's description asks for."""

from __future__ import annotations

from sim.machine.network_spec import (
    DragonflySpec,
    FatTreeSpec,
    SingleSwitchSpec,
    TopologySpec,
    TorusSpec,
    TwoLevelTreeSpec,
)
from sim.network.fabrics.dragonfly import Dragonfly
from sim.network.fabrics.fabric import Fabric
from sim.network.fabrics.fat_tree import FatTree
from sim.network.fabrics.single_switch import SingleSwitch
from sim.network.fabrics.torus import Torus
from sim.network.fabrics.two_level_tree import TwoLevelTree


def build_fabric(spec: TopologySpec, *, nodes: int) -> Fabric:
    """The fabric of a kind, of which the first ``nodes`` nodes are in use."""
    match spec:
        case TwoLevelTreeSpec():
            return TwoLevelTree(spec, nodes=nodes)
        case FatTreeSpec():
            return FatTree(spec, nodes=nodes)
        case TorusSpec():
            return Torus(spec)
        case DragonflySpec():
            return Dragonfly(spec, nodes=nodes)
        case SingleSwitchSpec():
            return SingleSwitch()
