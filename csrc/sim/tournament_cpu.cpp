#include "core/interrupt.h"
#include "core/philox.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif
#include "sim/tournament.h"

namespace loqa::LOQA_ISA {
namespace {

constexpr int64_t kLanes = 32;  // repeats of one match that are played side by side, at most
constexpr int64_t kGroup = 8;   // their number is a multiple of this
constexpr int64_t kBetweenLooks = 256;  // turns of a block

// A block of lanes; every loop below runs over all of them so that it vectorises.
struct alignas(64) Block {
  int64_t lanes;
  alignas(64) int32_t row[2][kLanes];
  int32_t defected[2][kLanes];  // turns on which each player defected
  int32_t both[kLanes];         // turns on which both did
  uint32_t word[4][kLanes];
};

void play_turn(const int32_t* __restrict cooperates, const int32_t* __restrict next,
               Block& __restrict block, int turn) {
  const uint32_t* first_word = block.word[2 * turn];
  const uint32_t* second_word = block.word[2 * turn + 1];
  for (int64_t i = 0; i < block.lanes; ++i) {
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

#if defined(__AVX2__)
// Machines of at most eight states fit registers: thresholds in one, the four next states of each
// state as bytes of another. States count from the machine's first row. 1.5 times as fast as
// gathers from memory with AVX2, twice with AVX-512 (EPYC).
struct SmallMachine {
  __m256i cooperates;
  __m256i next;
};

constexpr int kSmallStates = 8;

SmallMachine load_small(const Machines& machines, int32_t machine) {
  alignas(32) int32_t cooperates[kSmallStates] = {};
  alignas(32) int32_t next[kSmallStates] = {};
  const int32_t first = machines.first[machine];
  const int32_t states = machines.first[machine + 1] - first;
  for (int32_t state = 0; state < states; ++state) {
    cooperates[state] = machines.cooperates[first + state];
    for (int outcome = 0; outcome < 4; ++outcome) {
      next[state] |= (machines.next[4 * (first + state) + outcome] - first) << (8 * outcome);
    }
  }
  return {_mm256_load_si256(reinterpret_cast<const __m256i*>(cooperates)),
          _mm256_load_si256(reinterpret_cast<const __m256i*>(next))};
}

void play_turn_small(const SmallMachine& first, const SmallMachine& second, Block& block,
                     int turn) {
  const auto at = [](auto* lanes) { return reinterpret_cast<__m256i*>(lanes); };
  const __m256i byte = _mm256_set1_epi32(0xff);
  for (int64_t i = 0; i < block.lanes; i += kGroup) {
    const __m256i p = _mm256_load_si256(at(block.row[0] + i));
    const __m256i q = _mm256_load_si256(at(block.row[1] + i));
    const __m256i u = _mm256_srli_epi32(_mm256_load_si256(at(block.word[2 * turn] + i)), 8);
    const __m256i v = _mm256_srli_epi32(_mm256_load_si256(at(block.word[2 * turn + 1] + i)), 8);
    // -1 where a player cooperates.
    const __m256i c = _mm256_cmpgt_epi32(_mm256_permutevar8x32_epi32(first.cooperates, p), u);
    const __m256i d = _mm256_cmpgt_epi32(_mm256_permutevar8x32_epi32(second.cooperates, q), v);
    const __m256i one = _mm256_set1_epi32(1);
    const __m256i a = _mm256_add_epi32(c, one);
    const __m256i b = _mm256_add_epi32(d, one);
    const auto count = [&](int32_t* lanes, __m256i more) {
      _mm256_store_si256(at(lanes + i), _mm256_add_epi32(_mm256_load_si256(at(lanes + i)), more));
    };
    count(block.defected[0], a);
    count(block.defected[1], b);
    count(block.both, _mm256_and_si256(a, b));
    const auto follow = [&](__m256i next, __m256i state, __m256i own, __m256i other) {
      const __m256i shift =
          _mm256_add_epi32(_mm256_slli_epi32(own, 4), _mm256_slli_epi32(other, 3));
      return _mm256_and_si256(_mm256_srlv_epi32(_mm256_permutevar8x32_epi32(next, state), shift),
                              byte);
    };
    _mm256_store_si256(at(block.row[0] + i), follow(first.next, p, a, b));
    _mm256_store_si256(at(block.row[1] + i), follow(second.next, q, b, a));
  }
}
#endif

void draw_words(Block& block, uint64_t seed, int64_t lane, uint32_t who, int64_t turn) {
  const uint32_t first = static_cast<uint32_t>(lane);
  const uint32_t lanes = static_cast<uint32_t>(block.lanes);
  for (uint32_t i = 0; i < lanes; ++i) {
    const PhiloxBlock random =
        philox(seed, first + i, who, static_cast<uint32_t>(turn / 2), kDrawTournament);
    for (int word = 0; word < 4; ++word) block.word[word][i] = random.word[word];
  }
}

// `turns` turns of a block by `play(turn in the block of random numbers)`.
template <typename Play>
void play_turns(Block& block, int64_t turns, uint64_t seed, int64_t lane, uint32_t who,
                const Play& play) {
  for (int64_t turn = 0; turn < turns; turn += 2) {
    if (turn % kBetweenLooks == 0 && interrupted()) return;
    draw_words(block, seed, lane, who, turn);
    play(0);
    if (turn + 1 < turns) play(1);
  }
}

void start(Block& block, int32_t first, int32_t second) {
  for (int64_t i = 0; i < block.lanes; ++i) {
    block.row[0][i] = first;
    block.row[1][i] = second;
    block.defected[0][i] = block.defected[1][i] = block.both[i] = 0;
  }
}

void play_block(const Machines& machines, int32_t first, int32_t second, int64_t turns,
                uint64_t seed, int64_t lane, Block& block) {
  const uint32_t who = static_cast<uint32_t>(first) << 16 | static_cast<uint32_t>(second);
#if defined(__AVX2__)
  const auto small = [&](int32_t machine) {
    return machines.first[machine + 1] - machines.first[machine] <= kSmallStates;
  };
  if (small(first) && small(second)) {
    const SmallMachine one = load_small(machines, first), other = load_small(machines, second);
    start(block, 0, 0);
    play_turns(block, turns, seed, lane, who,
               [&](int turn) { play_turn_small(one, other, block, turn); });
    return;
  }
#endif
  start(block, machines.first[first], machines.first[second]);
  play_turns(block, turns, seed, lane, who,
             [&](int turn) { play_turn(machines.cooperates, machines.next, block, turn); });
}

}  // namespace

void tournament_matches(const Machines& machines, const int32_t* pairs, int64_t turns,
                        int64_t repeats, uint64_t seed, int32_t* counts, int64_t begin,
                        int64_t end) {
  Block block;
  for (int64_t match = begin; match < end; ++match) {
    for (int64_t lane = 0; lane < repeats; lane += kLanes) {
      const int64_t live = repeats - lane < kLanes ? repeats - lane : kLanes;
      block.lanes = (live + kGroup - 1) / kGroup * kGroup;
      play_block(machines, pairs[2 * match], pairs[2 * match + 1], turns, seed, lane, block);
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
