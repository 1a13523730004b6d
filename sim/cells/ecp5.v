// SPDX-License-Identifier: Apache-2.0
// Cells of Lattice ECP5 of which Yosys has ports alone, and Yosys' models of the others. They behave as Lattice FPGA-TN-02204 (memory
// usage guide) and FPGA-TN-02205 (sysDSP usage guide) say, with the pins of a wide word where Yosys' own mapping of memories has them,
// in the modes that the gateware uses: any other needs a module that is missing.

`include "common_sim.vh"
`include "ccu2c_sim.vh"

// Block RAM of 18,432 bits. Port A writes, port B reads; one clock. Address pins count bits: a wide word leaves the lowest ones free,
// where port A then has its byte enables. A port of 36 bits takes the data pins of both, A's below B's.
// Contents before the first write are arbitrary, and so is a read of what is written at the same edge: here the complement.
module DP16KD (
    input  DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
    input  ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input  CEA, OCEA, CLKA, WEA, CSA2, CSA1, CSA0, RSTA,
    input  DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
    input  ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input  CEB, OCEB, CLKB, WEB, CSB2, CSB1, CSB0, RSTB,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18;
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG";
    parameter REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC";
    parameter CSDECODE_A = "0b000";
    parameter CSDECODE_B = "0b000";
    parameter WRITEMODE_A = "NORMAL";
    parameter WRITEMODE_B = "NORMAL";
    parameter GSR = "ENABLED";

    if (DATA_WIDTH_A != DATA_WIDTH_B || RESETMODE != "SYNC" || CSDECODE_A != "0b000" || CSDECODE_B != "0b000"
            || WRITEMODE_A != "NORMAL" || WRITEMODE_B != "NORMAL" || GSR != "DISABLED")
        dp16kd_mode_without_model missing ();

    // Bits of a word inside a unit of nine, the units of a word, and the address bits that count either.
    localparam UNITS = DATA_WIDTH_A > 9 ? DATA_WIDTH_A / 9 : 1;
    localparam BITS = DATA_WIDTH_A > 9 ? 9 : DATA_WIDTH_A;

    wire [13:0] write_address = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [13:0] read_address = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [35:0] data = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0
    };
    wire [3:0] enable = UNITS > 1 ? write_address[3:0] : 4'b0001;
    wire write = CEA && WEA && !{CSA2, CSA1, CSA0};
    wire read = CEB && !{CSB2, CSB1, CSB0};

    // First unit of a word, and first bit inside the unit.
    function [10:0] unit(input [13:0] address);
        unit = address[13:3] & ~(UNITS - 1);
    endfunction

    function [3:0] first(input [13:0] address);
        first = BITS == 9 ? 0 : address[2:0] & ~(BITS - 1);
    endfunction

    reg [8:0] store [0:2047];
    reg [35:0] memory, register;
    integer index;

    initial
        for (index = 0; index < 2048; index = index + 1)
            store[index] = 9'h155 ^ (index * 37);

    always @(posedge CLKA)
        if (write)
            for (index = 0; index < UNITS; index = index + 1)
                if (enable[index])
                    store[unit(write_address) + index][first(write_address) +: BITS] <= data[BITS * index +: BITS];

    integer place;
    always @(posedge CLKB) begin
        if (WEB || RSTB)
            $fatal(1, "DP16KD: a write or reset of port B has no model");
        if (read) begin
            for (place = 0; place < UNITS; place = place + 1)
                memory[BITS * place +: BITS] <= store[unit(read_address) + place][first(read_address) +: BITS]
                    ^ {BITS{write && enable[place] && unit(write_address) == unit(read_address) && first(write_address) == first(read_address)}};
            if (OCEB)
                register <= memory;
        end
    end

    wire [35:0] out = REGMODE_B == "OUTREG" ? register : memory;
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = DATA_WIDTH_B == 36 ? out[17:0] : 18'bx;
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} = DATA_WIDTH_B == 36 ? out[35:18] : out[17:0];
endmodule

// Multiplier of 18 by 18 bits with registers at its inputs, behind the product and at its output, each there or not.
module MULT18X18D (
    input  A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input  B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input  C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input  SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    input  CLK3, CLK2, CLK1, CLK0, CE3, CE2, CE1, CE0, RST3, RST2, RST1, RST0,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15, P14, P13,
           P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE";
    parameter REG_INPUTB_CLK = "NONE";
    parameter REG_INPUTC_CLK = "NONE";
    parameter REG_PIPELINE_CLK = "NONE";
    parameter REG_OUTPUT_CLK = "NONE";
    parameter GSR = "ENABLED";
    parameter MULT_BYPASS = "DISABLED";
    parameter RESETMODE = "SYNC";
    parameter SOURCEB_MODE = "B_SHIFT";

    if (GSR != "DISABLED" || MULT_BYPASS != "DISABLED" || RESETMODE != "SYNC" || SOURCEB_MODE != "B_SHIFT"
            || REG_INPUTC_CLK != "NONE"
            || (REG_INPUTA_CLK != "NONE" && REG_INPUTA_CLK != "CLK0") || (REG_INPUTB_CLK != "NONE" && REG_INPUTB_CLK != "CLK0")
            || (REG_PIPELINE_CLK != "NONE" && REG_PIPELINE_CLK != "CLK0") || (REG_OUTPUT_CLK != "NONE" && REG_OUTPUT_CLK != "CLK0"))
        mult18x18d_mode_without_model missing ();

    wire [17:0] a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire [17:0] b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    reg signed [18:0] a_register, b_register;
    reg signed [35:0] pipeline_register, output_register;

    wire signed [18:0] left = REG_INPUTA_CLK == "NONE" ? {SIGNEDA & a[17], a} : a_register;
    wire signed [18:0] right = REG_INPUTB_CLK == "NONE" ? {SIGNEDB & b[17], b} : b_register;
    wire signed [35:0] product = left * right;
    wire signed [35:0] inner = REG_PIPELINE_CLK == "NONE" ? product : pipeline_register;
    wire signed [35:0] result = REG_OUTPUT_CLK == "NONE" ? inner : output_register;

    always @(posedge CLK0) begin
        if (SOURCEA || SOURCEB)
            $fatal(1, "MULT18X18D: the shift chain has no model");
        if (RST0) begin
            a_register <= 0;
            b_register <= 0;
            pipeline_register <= 0;
            output_register <= 0;
        end else if (CE0) begin
            a_register <= {SIGNEDA & a[17], a};
            b_register <= {SIGNEDB & b[17], b};
            pipeline_register <= product;
            output_register <= inner;
        end
    end

    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15, P14, P13, P12,
        P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = result;
endmodule
