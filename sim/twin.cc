// SPDX-License-Identifier: Apache-2.0
// Drives the compiled device from a queue of words to a queue of words, a stride of clock cycles at a time.
// FRENN_IN and FRENN_OUT name its two streams.

#include "Vfrenn.h"
#include "verilated.h"

#include <cstdint>
#include <deque>

// Verilator writes the double underscore of a stream's ports as ___05F.
#define JOIN(stream, member) stream##___05F##member
#define PORT(stream, member) JOIN(stream, member)

namespace {

struct Twin {
    VerilatedContext context;
    Vfrenn design{&context};
    std::deque<uint64_t> pending;
    uint64_t cycles = 0;

    Twin() {
        design.rst = 1;
        fall();
        rise();
        design.rst = 0;
    }

    // Outputs follow the inputs; both sides of a stream look at valid and ready just before the edge.
    void fall() {
        design.clk = 0;
        design.eval();
    }

    void rise() {
        design.clk = 1;
        design.eval();
        cycles++;
    }
};

}  // namespace

// Called by Verilator for the time of a message; the gateware has no time but cycles.
double sc_time_stamp() { return 0; }

extern "C" {

void *twin_open() { return new Twin(); }

void twin_close(void *handle) { delete static_cast<Twin *>(handle); }

uint64_t twin_cycles(void *handle) { return static_cast<Twin *>(handle)->cycles; }

void twin_send(void *handle, const uint64_t *words, uint64_t count) {
    auto &pending = static_cast<Twin *>(handle)->pending;
    pending.insert(pending.end(), words, words + count);
}

uint64_t twin_pending(void *handle) { return static_cast<Twin *>(handle)->pending.size(); }

// Runs until a word has come that holds a bit of `stop`, until `limit` words have come, for `quiet` cycles after
// the last word, or for `stride` cycles. Returns the number of words.
uint64_t twin_run(void *handle, uint64_t *words, uint64_t limit, uint64_t stop, uint64_t quiet, uint64_t stride) {
    auto &twin = *static_cast<Twin *>(handle);
    auto &design = twin.design;
    uint64_t count = 0, last = 0;
    design.PORT(FRENN_OUT, ready) = 1;
    for (uint64_t cycle = 0; cycle < stride && count < limit; cycle++) {
        if (count && cycle - last > quiet)
            break;
        bool sending = !twin.pending.empty();
        design.PORT(FRENN_IN, valid) = sending;
        if (sending)
            design.PORT(FRENN_IN, payload) = twin.pending.front();
        twin.fall();
        bool taken = sending && design.PORT(FRENN_IN, ready);
        bool given = design.PORT(FRENN_OUT, valid);
        uint64_t word = design.PORT(FRENN_OUT, payload);
        twin.rise();
        if (taken)
            twin.pending.pop_front();
        if (given) {
            words[count++] = word;
            last = cycle;
            if (word & stop)
                break;
        }
    }
    // Between strides nothing is taken: a word that waits must not be lost.
    design.PORT(FRENN_OUT, ready) = 0;
    return count;
}

}  // extern "C"
