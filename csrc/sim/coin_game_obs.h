#pragma once

#include "sim/coin_game_bits.h"

// Observations of a block of lanes, in every type. Included by coin_game_cpu.cpp alone.

namespace loqa::LOQA_ISA {
namespace {

// Planes of lanes [begin, end), environment `begin` at `out`: zeros, then the ones.
template <typename Element, typename Cell, int kPlayers, int kCoins>
inline void write_planes(const CoinGameBatch& batch, const CoinLanes<Cell, kPlayers, kCoins>& lanes,
                         const Cell (&places)[kPlayers][kPlayers + kCoins][kLanes], int64_t size,
                         int begin, int end, Element* out) {
  const Element one = static_cast<Element>(batch.element_of(1));
  const int64_t env_size = kPlayers * size;
  __builtin_memset(out, 0, static_cast<size_t>((end - begin) * env_size) * sizeof(Element));
  Element* env = out;
  for (int l = begin; l < end; ++l, env += env_size) {
    for (int p = 0; p < kPlayers; ++p) {
      for (int k = 0; k < kPlayers + kCoins; ++k) env[p * size + places[p][k][l]] = one;
    }
  }
  if (!batch.rules.history) return;
  const int64_t board = batch.rules.height * batch.rules.width;
  env = out;
  for (int l = begin; l < end; ++l, env += env_size) {
    for (int p = 0; p < kPlayers; ++p) {
      Element* to = env + p * size + coin_planes(batch.rules) * board;
      for (int k = 0; k <= kPlayers; ++k) {
        const Element value =
            static_cast<Element>(batch.element_of(history_value(batch, lanes, p, k, l)));
        for (int64_t cell = 0; cell < board; ++cell) *to++ = value;
      }
    }
  }
}

template <typename Element, typename Cell, int kPlayers, int kCoins>
inline void put_planes(const CoinGameBatch& batch, const CoinLanes<Cell, kPlayers, kCoins>& lanes,
                       const Cell (&places)[kPlayers][kPlayers + kCoins][kLanes], int64_t size,
                       int count, bool stream, Element* out) {
  if constexpr (kHasBits && sizeof(Cell) == 1) {
    if (size <= kBitsOfPlayer) {
      const Element one = static_cast<Element>(batch.element_of(1));
      return put_bits(places, size, count, one, stream, out);
    }
  }
  const int64_t env_bytes = kPlayers * size * static_cast<int64_t>(sizeof(Element));
  if (!stream || env_bytes > kScratch) {
    write_planes(batch, lanes, places, size, 0, count, out);
    return;
  }
  alignas(64) uint8_t scratch[kScratch];
  int at_once = kLanes;
  while (at_once * env_bytes > kScratch) at_once /= 2;
  for (int begin = 0; begin < count; begin += at_once) {
    const int end = begin + at_once < count ? begin + at_once : count;
    write_planes(batch, lanes, places, size, begin, end, reinterpret_cast<Element*>(scratch));
    stream_copy(scratch, (end - begin) * env_bytes,
                reinterpret_cast<uint8_t*>(out) + begin * env_bytes);
  }
}

// Cells of small boards: eight places at a time, of which what the next environment needs is
// written over by it.
template <typename Element, int kEach>
inline void write_small_cells(const uint8_t (&places)[2][kEach][kLanes], int count, Element* out) {
  constexpr int kOnes = 2 * kEach;
  constexpr int kAtOnce = 8;
  static_assert(kOnes <= kAtOnce);
  const uint8_t* from[kOnes];
  for (int k = 0; k < kOnes; ++k) from[k] = places[k / kEach][k % kEach];
  alignas(64) uint64_t packed[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    uint64_t bytes = 0;
    for (int k = 0; k < kOnes; ++k) bytes |= static_cast<uint64_t>(from[k][l]) << (8 * k);
    packed[l] = bytes;
  }
  for (int l = 0; l + 1 < count; ++l) {
    uint8_t bytes[kAtOnce];
    __builtin_memcpy(bytes, &packed[l], kAtOnce);
    for (int k = 0; k < kAtOnce; ++k) out[l * kOnes + k] = static_cast<Element>(bytes[k]);
  }
  for (int k = 0; k < kOnes; ++k) {
    out[(count - 1) * kOnes + k] = static_cast<Element>(from[k][count - 1]);
  }
}

template <typename Element, typename Cell, int kPlayers, int kCoins>
inline void write_cells(const CoinGameBatch& batch, const CoinLanes<Cell, kPlayers, kCoins>& lanes,
                        const Cell (&places)[kPlayers][kPlayers + kCoins][kLanes], int64_t size,
                        int count, Element* out) {
  if constexpr (sizeof(Cell) == 1) return write_small_cells(places, count, out);
  for (int l = 0; l < count; ++l) {
    for (int p = 0; p < kPlayers; ++p, out += size) {
      for (int k = 0; k < kPlayers + kCoins; ++k) out[k] = static_cast<Element>(places[p][k][l]);
      if (!batch.rules.history) continue;
      for (int k = 0; k <= kPlayers; ++k) {
        out[kPlayers + kCoins + k] = static_cast<Element>(history_value(batch, lanes, p, k, l));
      }
    }
  }
}

// Observations of the first `count` lanes.
template <typename Cell, int kPlayers, int kCoins>
inline void write_obs(const CoinGameBatch& batch, const CoinLanes<Cell, kPlayers, kCoins>& lanes,
                      int count, bool stream, void* obs) {
  alignas(64) Cell places[kPlayers][kPlayers + kCoins][kLanes];
  place_ones(batch.rules, lanes, places);
  const auto put = [&]<typename Element>(Element* to) {
    if (batch.rules.cells) return write_cells(batch, lanes, places, batch.obs_size, count, to);
    if constexpr (sizeof(Element) < 8) {
      put_planes(batch, lanes, places, batch.obs_size, count, stream, to);
    }
  };
  switch (bytes_of_type(batch.obs_type)) {
    case 1:
      return put(static_cast<uint8_t*>(obs));
    case 2:
      return put(static_cast<uint16_t*>(obs));
    case 4:
      return put(static_cast<uint32_t*>(obs));
    default:
      return put(static_cast<uint64_t*>(obs));
  }
}

}  // namespace
}  // namespace loqa::LOQA_ISA
