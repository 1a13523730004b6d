# SPDX-License-Identifier: Apache-2.0
"""The vendor's PCI Express DMA core, and what stands between it and the pins of a board."""

from collections.abc import Mapping
from typing import Any, Final

from amaranth.hdl import Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .boards import Board, Pcie

CORE: Final = "frenn_dma"
"""Of the core's module, which the vendor's tools make from `core_options`."""


def core_ports(family: str, pcie: Pcie) -> dict[str, tuple[str, int]]:
    """Direction (``i`` or ``o``) and width of the ports of the core that are used, by name."""
    ports = {"sys_clk": ("i", 1)}
    if family == "ultrascale":
        ports["sys_clk_gt"] = ("i", 1)
    ports |= {
        "sys_rst_n": ("i", 1),
        "pci_exp_rxp": ("i", pcie.lanes),
        "pci_exp_rxn": ("i", pcie.lanes),
        "pci_exp_txp": ("o", pcie.lanes),
        "pci_exp_txn": ("o", pcie.lanes),
        "axi_aclk": ("o", 1),
        "axi_aresetn": ("o", 1),
        "usr_irq_req": ("i", 1),
    }
    for prefix, forth, back in (("m_axis_h2c", "o", "i"), ("s_axis_c2h", "i", "o")):
        ports |= {
            f"{prefix}_tdata_0": (forth, pcie.width),
            f"{prefix}_tkeep_0": (forth, pcie.width // 8),
            f"{prefix}_tlast_0": (forth, 1),
            f"{prefix}_tvalid_0": (forth, 1),
            f"{prefix}_tready_0": (back, 1),
        }
    return ports


def core_options(pcie: Pcie) -> dict[str, str]:
    """Options of the vendor's ``xdma`` by which it is the core that `core_ports` is of."""
    return {
        "mode_selection": "Advanced",
        "pcie_blk_locn": pcie.block,
        "pl_link_cap_max_link_width": f"X{pcie.lanes}",
        "pl_link_cap_max_link_speed": pcie.speed,
        "axi_data_width": f"{pcie.width}_bit",
        "axisten_freq": f"{pcie.clock / 1e6:g}",
        "pf0_device_id": pcie.device,
        "xdma_axi_intf_mm": "AXI_Stream",
        "xdma_rnum_chnl": "1",
        "xdma_wnum_chnl": "1",
        "xdma_num_usr_irq": "1",
        "axilite_master_en": "false",
        "cfg_mgmt_if": "false",
    }


def core_stub(family: str, pcie: Pcie) -> str:
    """Verilog of the core's ports without what is in it, for tools that have only that."""
    kinds = {"i": "input", "o": "output"}
    ports = [f"    {kinds[kind]} [{width - 1}:0] {name}" for name, (kind, width) in core_ports(family, pcie).items()]
    return "\n".join(["(* blackbox *)", f"module {CORE} (", ",\n".join(ports), ");", "endmodule"]) + "\n"


def pcie_pins(pcie: Pcie) -> dict[str, wiring.Member]:
    """Members of a component that is wired to the slot."""
    pins: dict[str, wiring.Member] = {"pcie_clock_p": In(1), "pcie_clock_n": In(1), "pcie_reset_n": In(1)}
    pins |= {f"pcie_rx_{side}": In(pcie.lanes) for side in "pn"}
    pins |= {f"pcie_tx_{side}": Out(pcie.lanes) for side in "pn"}
    if pcie.request is not None:
        pins["pcie_request_n"] = Out(1)
    return pins


class PcieCore(wiring.Component):
    """The DMA core with its reference clock.

    Parameters
    ----------
    board : Board
        One with PCI Express.

    Ports
    -----
    pcie_*
        See `pcie_pins`.
    clock, reset_n : Out
        Clock of the AXI4-Streams, and whether core and link are up; the latter of that clock.
    s_axis_*
        From the host, as the core gives it.
    m_axis_*
        To the host.

    All of it is the vendor's: there is no model of it here.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.pcie = board.slot
        signals = {"tdata": self.pcie.width, "tkeep": self.pcie.width // 8, "tlast": 1, "tvalid": 1}
        super().__init__(
            {
                **pcie_pins(self.pcie),
                "clock": Out(1),
                "reset_n": Out(1),
                **{f"s_axis_{name}": Out(bits) for name, bits in signals.items()},
                "s_axis_tready": In(1),
                **{f"m_axis_{name}": In(bits) for name, bits in signals.items()},
                "m_axis_tready": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        family = self.board.family
        reference, divided = Signal(name="pcie_reference"), Signal(name="pcie_divided")
        pair: dict[str, Any] = {"i_I": self.pcie_clock_p, "i_IB": self.pcie_clock_n, "i_CEB": Const(0), "o_O": reference}
        signals: Mapping[str, Any] = {
            "sys_clk": reference,
            "sys_rst_n": self.pcie_reset_n,
            "pci_exp_rxp": self.pcie_rx_p,
            "pci_exp_rxn": self.pcie_rx_n,
            "pci_exp_txp": self.pcie_tx_p,
            "pci_exp_txn": self.pcie_tx_n,
            "axi_aclk": self.clock,
            "axi_aresetn": self.reset_n,
            "usr_irq_req": Const(0),
            **{f"m_axis_h2c_{name}_0": getattr(self, f"s_axis_{name}") for name in ("tdata", "tkeep", "tlast", "tvalid", "tready")},
            **{f"s_axis_c2h_{name}_0": getattr(self, f"m_axis_{name}") for name in ("tdata", "tkeep", "tlast", "tvalid", "tready")},
        }
        if family == "ultrascale":
            # The transceivers take the reference itself, the core's logic what a divider that does not divide makes of it.
            m.submodules.reference = Instance("IBUFDS_GTE3", **pair, p_REFCLK_HROW_CK_SEL=Const(0, 2), o_ODIV2=divided)
            signals = {**signals, "sys_clk": divided, "sys_clk_gt": reference}
        else:
            m.submodules.reference = Instance("IBUFDS_GTE2", **pair)
        ports = core_ports(family, self.pcie)
        m.submodules.dma = Instance(CORE, **{f"{kind}_{name}": signals[name] for name, (kind, _) in ports.items()})
        if self.pcie.request is not None:
            # The slot sends its clock while this is low.
            m.d.comb += self.pcie_request_n.eq(0)
        return m
