"""Which table is predicted by which function. A predictor sees a row's inputs, never its value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from taihusim.validation.conv_image import autotuned_fp32, hand_fp32, plans_2017, swdnn_2017, taco
from taihusim.validation.conv_implicit import swdnn_2016
from taihusim.validation.conv_transformed import explicit_fp32, winograd_fp32
from taihusim.validation.dma_programs import compute_overlap, stream
from taihusim.validation.dma_transfers import block_size, grid, strided_alignment
from taihusim.validation.gemm_primitive import ldm_primitive
from taihusim.validation.gemm_tables import block_sweep, shapes, skinny_blocking
from taihusim.validation.hpl import hpl
from taihusim.validation.input_pipeline import input_pipeline
from taihusim.validation.inputs import Predictor
from taihusim.validation.ladder import ladder
from taihusim.validation.layers_swcaffe import layers_figure, layers_log, vgg16_layers
from taihusim.validation.network import allreduce_bandwidth, p2p_bandwidth
from taihusim.validation.scaling import comm_share, comm_share_thesis, speedup, speedup_thesis
from taihusim.validation.throughput import throughput_training, time_share

PREDICTORS: Final[Mapping[str, Predictor]] = {
    "dma_strided_alignment": strided_alignment,
    "dma_grid": grid,
    "dma_block_size": block_size,
    "dma_stream": stream,
    "dma_compute_overlap": compute_overlap,
    "gemm_ldm_primitive": ldm_primitive,
    "gemm_fp32": shapes,
    "gemm_skinny_blocking": skinny_blocking,
    "gemm_block_sweep_fp32": block_sweep,
    "conv_optimisation_ladder_fp64": ladder,
    "swdnn_conv_fp64_4cg": swdnn_2016,
    "conv_swdnn2017_fp64": swdnn_2017,
    "conv_swdnn2017_kernel_size_fp64": swdnn_2017,
    "conv_swdnn2017_table3": plans_2017,
    "conv_taco_ni_no_ro_fp64": taco,
    "conv_implicit_hand_fp32": hand_fp32,
    "conv_autotuned_fp32": autotuned_fp32,
    "conv_winograd_fp32": winograd_fp32,
    "conv_explicit_fp32": explicit_fp32,
    "conv_vgg16_layers_fp32_1cg": vgg16_layers,
    "layers_swcaffe_log_fp32_1cg": layers_log,
    "layers_swcaffe_fig_fp32_4cg": layers_figure,
    "throughput_training": throughput_training,
    "time_share": time_share,
    "p2p_bandwidth": p2p_bandwidth,
    "allreduce_bandwidth": allreduce_bandwidth,
    "scaling_comm_share": comm_share,
    "scaling_comm_share_thesis": comm_share_thesis,
    "scaling_speedup": speedup,
    "scaling_speedup_thesis": speedup_thesis,
    "input_pipeline": input_pipeline,
    "hpl": hpl,
}
