#include "core/philox.h"
#include "sim/tournament.h"

namespace loqa::LOQA_ISA {
namespace {

constexpr int64_t kLanes = 64;  // repeats of one match that are played side by side

// A block of lanes; every loop below runs over all of them so that it vectorises.
struct Block {
  int32_t row[2][kLanes];
  int32_t defected[2][kLanes];  // turns on which each player defected
  int32_t both[kLanes];         // turns on which both did
  uint32_t word[4][kLanes];
};

void play_turn(const int32_t* __restrict cooperates, const int32_t* __restrict next,
               Block& __restrict block, int turn) {
  const uint32_t* first_word = block.word[2 * turn];
  const uint32_t* second_word = block.word[2 * turn + 1];
  for (int64_t i = 0; i < kLanes; ++i) {
    const int32_t p = block.row[0][i];
    const int32_t q = block.row[1][i];
    const int32_t a = static_cast<int32_t>(first_word[i] >> 8) < cooperates[p] ? 0 : 1;
    const int32_t b = static_cast<int32_t>(second_word[i] >> 8) < cooperates[q] ? 0 : 1;
    block.defected[0][i] += a;
    block.defected[1][i] += b;
    block.both[i] += a & b;
    block.row[0][i] = next[4 * p + 2 * a + b];
    block.row[1][i] = next[4 * q + 2 * b + a];
  }
}

}  // namespace

void tournament_matches(const Machines& machines, const int32_t* pairs, int64_t turns,
                        int64_t repeats, uint64_t seed, int32_t* counts, int64_t begin,
                        int64_t end) {
  Block block;
  for (int64_t match = begin; match < end; ++match) {
    const int32_t first = pairs[2 * match];
    const int32_t second = pairs[2 * match + 1];
    const uint32_t who = static_cast<uint32_t>(first) << 16 | static_cast<uint32_t>(second);
    for (int64_t lane = 0; lane < repeats; lane += kLanes) {
      for (int64_t i = 0; i < kLanes; ++i) {
        block.row[0][i] = machines.first[first];
        block.row[1][i] = machines.first[second];
        block.defected[0][i] = block.defected[1][i] = block.both[i] = 0;
      }
      for (int64_t turn = 0; turn < turns; turn += 2) {
        for (int64_t i = 0; i < kLanes; ++i) {
          const PhiloxBlock random = philox(seed, static_cast<uint32_t>(lane + i), who,
                                            static_cast<uint32_t>(turn / 2), kDrawTournament);
          for (int word = 0; word < 4; ++word) block.word[word][i] = random.word[word];
        }
        play_turn(machines.cooperates, machines.next, block, 0);
        if (turn + 1 < turns) play_turn(machines.cooperates, machines.next, block, 1);
      }
      const int64_t live = repeats - lane < kLanes ? repeats - lane : kLanes;
      for (int64_t i = 0; i < live; ++i) {
        int32_t* out = counts + 4 * (match * repeats + lane + i);
        const int32_t a = block.defected[0][i], b = block.defected[1][i], both = block.both[i];
        out[0] = static_cast<int32_t>(turns) - a - b + both;
        out[1] = b - both;
        out[2] = a - both;
        out[3] = both;
      }
    }
  }
}

}  // namespace loqa::LOQA_ISA
