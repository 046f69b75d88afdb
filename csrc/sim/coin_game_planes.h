#pragma once

#include "core/thread_block.h"
#include "sim/coin_game_batch.h"

// Observations written by a block of threads: from a view of each environment, which is its
// observation as cells, neighbouring threads write neighbouring chunks of the observations of all
// environments of the block. Planes of small boards come from bits, of large ones zeros
// first and then the ones. Included by coin_game_threads.h alone.

namespace loqa::LOQA_ISA {
namespace {

constexpr int64_t kMaxBitWords = 64;

// What a block shares. Strides are odd, so that threads that write their own views do not meet in
// one bank of memory.
struct CoinViews {
  int32_t each;     // elements of what one player sees: places of ones, with history also constants
  int32_t ones;     // of which places
  int32_t size;     // elements of one player's planes
  int32_t* cells;   // [kBlockThreads, cell_stride]
  uint32_t* bits;   // [kBlockThreads, bit_stride] of planes of all players
  uint8_t* chosen;  // [kBlockThreads]: whose observations are written
  int32_t cell_stride;
  int32_t bit_stride;
  int32_t bit_words;  // 0: no bits
};

LOQA_HD CoinViews coin_views(const CoinGameBatch& batch, uint32_t* shared) {
  const CoinRules& rules = batch.rules;
  CoinViews views;
  views.ones = rules.num_players + rules.num_coins;
  views.each = views.ones + (rules.history ? rules.num_players + 1 : 0);
  views.size = static_cast<int32_t>(batch.obs_size);
  const int32_t bits = rules.num_players * views.size;
  const bool has_bits = !rules.cells && !rules.history && bits <= 32 * kMaxBitWords;
  views.bit_words = has_bits ? (bits + 31) / 32 : 0;
  views.cell_stride = (rules.num_players * views.each) | 1;
  views.bit_stride = views.bit_words | 1;
  views.cells = reinterpret_cast<int32_t*>(shared);
  views.bits = shared + kBlockThreads * views.cell_stride;
  views.chosen = reinterpret_cast<uint8_t*>(views.bits + kBlockThreads * views.bit_stride);
  return views;
}

// 32-bit words of that.
inline size_t coin_views_words(const CoinGameBatch& batch) {
  const CoinViews views = coin_views(batch, nullptr);
  return static_cast<size_t>(kBlockThreads * (views.cell_stride + views.bit_stride) +
                             kBlockThreads / 4);
}

// Bits of the thread's own environment, from its own cells.
LOQA_HD void gather_bits(const CoinGameBatch& batch, const CoinViews& views, int thread) {
  if (views.bit_words == 0) return;
  uint32_t* bits = views.bits + thread * views.bit_stride;
  const int32_t* cells = views.cells + thread * views.cell_stride;
  for (int32_t w = 0; w < views.bit_words; ++w) bits[w] = 0;
  for (int p = 0; p < batch.rules.num_players; ++p) {
    for (int k = 0; k < views.ones; ++k) {
      const int32_t bit = p * views.size + *cells++;
      bits[bit >> 5] |= 1u << (bit & 31);
    }
  }
}

// The first bits as elements of a word, `one` where a bit is set: bits are moved to where elements
// begin, and no element of `one` times 0 or 1 reaches into the next.
template <int kElement>
LOQA_HD uint32_t elements_of(uint32_t bits, uint32_t one) {
  if constexpr (kElement == 4) return (bits & 1) * one;
  if constexpr (kElement == 2) return ((bits & 1) | (bits & 2) << 15) * one;
  return ((bits & 0xF) * 0x00204081u & 0x01010101u) * one;
}

template <int kElement, int kWords>
LOQA_HD void store_words(uint32_t bits, uint32_t one, uint8_t* to) {
  WideStore<uint32_t, kWords> words;
  LOQA_UNROLL(4)
  for (int w = 0; w < kWords; ++w) {
    words.value[w] = elements_of<kElement>(bits >> (4 / kElement * w), one);
  }
  *reinterpret_cast<WideStore<uint32_t, kWords>*>(to) = words;
}

// A thread's share of the planes of `count` environments, which begin at `obs`, in chunks of so
// many bytes.
template <int kElement, int kChunk>
LOQA_HD void fill_chunks(const CoinViews& views, int64_t env_bytes, uint32_t one, int count,
                         int thread, uint8_t* obs) {
  BlockWalk walk(static_cast<int32_t>(env_bytes / kChunk), thread);
  for (; walk.env < count; walk.next()) {
    if (views.chosen[walk.env] == 0) continue;
    const int32_t bit = walk.at * (kChunk / kElement);
    uint32_t bits = 0;
    if (views.bit_words > 0) {
      bits = views.bits[walk.env * views.bit_stride + (bit >> 5)] >> (bit & 31);
    }
    uint8_t* to = obs + walk.env * env_bytes + int64_t{walk.at} * kChunk;
    if constexpr (kChunk == 2) {  // of uint8: all players' planes are an even number of elements
      to[0] = static_cast<uint8_t>(bits & 1);
      to[1] = static_cast<uint8_t>(bits >> 1 & 1);
    } else {
      store_words<kElement, kChunk / 4>(bits, one, to);
    }
  }
}

// The same, in the largest chunks that do not straddle environments.
template <int kElement>
LOQA_HD void fill_planes(const CoinViews& views, int64_t env_bytes, uint32_t one, int count,
                         int thread, uint8_t* obs) {
  if (env_bytes % 16 == 0)
    return fill_chunks<kElement, 16>(views, env_bytes, one, count, thread, obs);
  if (env_bytes % 8 == 0)
    return fill_chunks<kElement, 8>(views, env_bytes, one, count, thread, obs);
  if (env_bytes % 4 == 0)
    return fill_chunks<kElement, 4>(views, env_bytes, one, count, thread, obs);
  if constexpr (kElement == 1) fill_chunks<1, 2>(views, env_bytes, one, count, thread, obs);
}

// A thread's share of the cells of `count` environments.
template <typename Element>
LOQA_HD void fill_cells(const CoinViews& views, int32_t each, int count, int thread, void* obs) {
  BlockWalk walk(each, thread);
  for (; walk.env < count; walk.next()) {
    if (views.chosen[walk.env] == 0) continue;
    const int32_t value = views.cells[walk.env * views.cell_stride + walk.at];
    static_cast<WideStore<Element, 1>*>(obs)[int64_t{walk.env} * each + walk.at] = {
        static_cast<Element>(value)};
  }
}

LOQA_HD void store_element(int64_t bytes, int64_t value, int64_t index, void* to) {
  switch (bytes) {
    case 1:
      static_cast<WideStore<uint8_t, 1>*>(to)[index] = {static_cast<uint8_t>(value)};
      return;
    case 2:
      static_cast<WideStore<uint16_t, 1>*>(to)[index] = {static_cast<uint16_t>(value)};
      return;
    case 4:
      static_cast<WideStore<uint32_t, 1>*>(to)[index] = {static_cast<uint32_t>(value)};
      return;
    default:
      static_cast<WideStore<int64_t, 1>*>(to)[index] = {value};
  }
}

// The first turn of writing observations: zeros (or all of the planes, from bits), or cells. It
// finds the views in `shared` anew: a caller's would lie in memory, for a function that is not
// inlined.
LOQA_BLOCK_CALL void fill_obs(const CoinGameBatch& batch, uint32_t* shared, int64_t first,
                              int thread, void* obs) {
  const CoinViews views = coin_views(batch, shared);
  const int64_t left = batch.num_envs - first;
  const int count = static_cast<int>(left < kBlockThreads ? left : kBlockThreads);
  const int64_t env_bytes = batch.obs_bytes;
  uint8_t* to = static_cast<uint8_t*>(obs) + first * env_bytes;
  const uint32_t one = batch.element_of(1);
  const int64_t element = bytes_of_type(batch.obs_type);
  if (!batch.rules.cells) {
    if (element == 4) return fill_planes<4>(views, env_bytes, one, count, thread, to);
    if (element == 2) return fill_planes<2>(views, env_bytes, one, count, thread, to);
    return fill_planes<1>(views, env_bytes, one, count, thread, to);
  }
  const int32_t each = batch.rules.num_players * views.each;
  switch (element) {
    case 1:
      return fill_cells<uint8_t>(views, each, count, thread, to);
    case 2:
      return fill_cells<int16_t>(views, each, count, thread, to);
    case 4:
      return fill_cells<int32_t>(views, each, count, thread, to);
    default:
      return fill_cells<int64_t>(views, each, count, thread, to);
  }
}

// The second turn, of planes without bits: the ones, and the constants that history adds.
LOQA_BLOCK_CALL void fill_ones(const CoinGameBatch& batch, uint32_t* shared, int64_t first,
                               int thread, void* obs) {
  const CoinViews views = coin_views(batch, shared);
  const int64_t left = batch.num_envs - first;
  const int count = static_cast<int>(left < kBlockThreads ? left : kBlockThreads);
  uint8_t* to = static_cast<uint8_t*>(obs) + first * batch.obs_bytes;
  const int64_t element = bytes_of_type(batch.obs_type);
  const int64_t board = batch.rules.height * batch.rules.width;
  BlockWalk walk(batch.rules.num_players * views.each, thread);
  for (; walk.env < count; walk.next()) {
    if (views.chosen[walk.env] == 0) continue;
    const int32_t player = walk.at / views.each;
    const int32_t k = walk.at % views.each;
    const int32_t value = views.cells[walk.env * views.cell_stride + walk.at];
    const int64_t planes = (int64_t{walk.env} * batch.rules.num_players + player) * views.size;
    if (k < views.ones) {
      store_element(element, batch.element_of(1), planes + value, to);
      continue;
    }
    const int64_t constant = planes + (coin_planes(batch.rules) + k - views.ones) * board;
    for (int64_t cell = 0; cell < board; ++cell) {
      store_element(element, batch.element_of(value), constant + cell, to);
    }
  }
}

}  // namespace
}  // namespace loqa::LOQA_ISA
