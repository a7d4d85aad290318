"""Messages that follow one another without waiting for an answer, as in the bandwidth tests of the OSU suite.

The slower of three sets the pace: the MPE, which does the work of messages out and in one after the other; the node's
link; and, where many nodes send out of a supernode at once, a node's share of what leads out of it. On a link a message
of the rendezvous protocol leaves a gap that nothing fills (SWCAFFE figure 6).
"""

from __future__ import annotations

from sim.machine.network_spec import NetworkSpec


def message_seconds(
    network: NetworkSpec, size: int, *, both_ways: bool = False, outside_bytes_per_second: float | None = None
) -> float:
    """Seconds from one message of ``size`` bytes between two nodes to the next.

    ``both_ways``: as many come back meanwhile. ``outside_bytes_per_second``: what each way has between supernodes.
    """
    protocol, link = network.protocol, network.link
    if size < protocol.eager_limit_bytes:
        send = protocol.eager_send_seconds + size * protocol.eager_send_seconds_per_byte
        receive = protocol.eager_receive_seconds + size * protocol.eager_receive_seconds_per_byte
        gap = 0.0
    else:
        send, receive = protocol.rendezvous_send_seconds, protocol.rendezvous_receive_seconds
        gap = protocol.rendezvous_gap_seconds
    paces = [send + receive if both_ways else max(send, receive), gap + size / link.node_bytes_per_second]
    if both_ways:
        paces.append(2 * (gap + size / link.node_duplex_bytes_per_second))
    if outside_bytes_per_second is not None:
        paces.append(gap + size / outside_bytes_per_second)
    return max(paces)
