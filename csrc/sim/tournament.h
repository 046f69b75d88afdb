#pragma once

#include <cstdint>

#include "core/isa.h"

namespace loqa {

// Finite-state machines, stochastic or not, one after the other. A machine's state is the number of
// a row of these tables.
struct Machines {
  const int32_t* cooperates;  // [rows] P(C) in units of 2^-24, noise included
  const int32_t* next;        // [rows, 4] next row after CC, CD, DC, DD, own action first
  const int32_t* first;  // [machines + 1] initial row; a machine's rows end at the next's first
};

inline constexpr uint32_t kDrawTournament = 3;  // fourth word of the Philox counter

// Plays matches [begin, end). match m is between machines pairs[2 m] and pairs[2 m + 1], `repeats`
// times `turns` turns. Two turns share one block of random numbers: counter = (repeat,
// first << 16 | second, turn / 2, kDrawTournament), words 0, 1 for the even turn's two players,
// words 2, 3 for the odd one's. Writes counts [matches, repeats, 4] of CC, CD, DC, DD.
LOQA_DECLARE_ISA(void tournament_matches(const Machines& machines, const int32_t* pairs,
                                         int64_t turns, int64_t repeats, uint64_t seed,
                                         int32_t* counts, int64_t begin, int64_t end);)

}  // namespace loqa
