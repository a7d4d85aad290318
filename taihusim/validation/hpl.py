"""Linpack over the whole machine, with the choices of the workload file."""

from __future__ import annotations

from dataclasses import replace

from nnlib.kernels.clock import KernelClock
from sim.machine.spec import MachineSpec
from taihusim.cache import default_store
from taihusim.validation.inputs import Inputs, whole
from workloads.hpc.files import load_program
from workloads.hpc.hpl import run_hpl
from workloads.hpc.hpl_spec import HplWorkload


def hpl(inputs: Inputs, machine: MachineSpec) -> float:
    """Rate in PFLOPS."""
    nodes, order = whole(inputs, "nodes", most=machine.nodes), whole(inputs, "order")
    shipped = load_program("hpl")
    assert isinstance(shipped, HplWorkload)
    workload = replace(shipped, order=order, order_nodes=nodes)
    clock = KernelClock(machine.processor, store=default_store())
    return run_hpl(workload, machine=machine, clock=clock, nodes=nodes).flops_per_second / 1e15
