#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "sim/coin_game_lanes.h"

// Observations of a block of lanes, in every type. Included by coin_game_cpu.cpp alone.

namespace loqa::LOQA_ISA {
namespace {

// Observations that go past the cache are put together here first, a few environments at a time.
constexpr int64_t kScratch = 16 << 10;

// Copies past the cache, whole lines at a time; without vector stores an ordinary copy.
inline void stream_copy(const uint8_t* from, int64_t bytes, uint8_t* to) {
#if defined(__SSE2__)
  constexpr int64_t kLine = 64;
  const int64_t misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(to) % kLine);
  int64_t head = misaligned == 0 ? 0 : kLine - misaligned;
  head = head < bytes ? head : bytes;
  __builtin_memcpy(to, from, static_cast<size_t>(head));
  int64_t at = head;
  for (; at + kLine <= bytes; at += kLine) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + at), _mm512_loadu_si512(from + at));
#elif defined(__AVX2__)
    for (int64_t i = at; i < at + kLine; i += 32) {
      _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i),
                          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i)));
    }
#else
    for (int64_t i = at; i < at + kLine; i += 16) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + i),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
    }
#endif
  }
  __builtin_memcpy(to + at, from + at, static_cast<size_t>(bytes - at));
#else
  __builtin_memcpy(to, from, static_cast<size_t>(bytes));
#endif
}

// Makes streamed results visible to other threads.
inline void stream_end() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// The constants that a player sees with history: rewards, its own first, and whether it is over.
template <int kPlayers, int kCoins>
inline int history_value(const CoinGameBatch& batch, const CoinLanes<kPlayers, kCoins>& lanes,
                         int player, int index, int lane) {
  if (index == kPlayers) return lanes.now[lane] >= batch.episode_length ? 1 : 0;
  return lanes.reward[(player + index) % kPlayers][lane];
}

// Planes of lanes [begin, end), environment `begin` at `out`.
template <typename Element, int kPlayers, int kCoins>
inline void write_planes(const CoinGameBatch& batch, const CoinLanes<kPlayers, kCoins>& lanes,
                         const int32_t (&places)[kPlayers][kPlayers + kCoins][kLanes], int64_t size,
                         int begin, int end, Element* out) {
  const Element one = static_cast<Element>(batch.values[3]);
  const int64_t env_size = kPlayers * size;
  __builtin_memset(out, 0, static_cast<size_t>((end - begin) * env_size) * sizeof(Element));
  Element* env = out;
  for (int l = begin; l < end; ++l, env += env_size) {
    for (int p = 0; p < kPlayers; ++p) {
      for (int k = 0; k < kPlayers + kCoins; ++k) env[places[p][k][l]] = one;
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
            static_cast<Element>(batch.values[2 + history_value(batch, lanes, p, k, l)]);
        for (int64_t cell = 0; cell < board; ++cell) *to++ = value;
      }
    }
  }
}

template <typename Element, int kPlayers, int kCoins>
inline void write_cells(const CoinGameBatch& batch, const CoinLanes<kPlayers, kCoins>& lanes,
                        const int32_t (&places)[kPlayers][kPlayers + kCoins][kLanes], int64_t size,
                        int count, Element* out) {
  if (!batch.rules.history) {
    constexpr int kOnes = kPlayers * (kPlayers + kCoins);
    for (int l = 0; l < count; ++l) {
      for (int k = 0; k < kOnes; ++k) {
        out[l * kOnes + k] =
            static_cast<Element>(places[k / (kPlayers + kCoins)][k % (kPlayers + kCoins)][l]);
      }
    }
    return;
  }
  for (int l = 0; l < count; ++l) {
    for (int p = 0; p < kPlayers; ++p, out += size) {
      for (int k = 0; k < kPlayers + kCoins; ++k) out[k] = static_cast<Element>(places[p][k][l]);
      for (int k = 0; k <= kPlayers; ++k) {
        out[kPlayers + kCoins + k] = static_cast<Element>(history_value(batch, lanes, p, k, l));
      }
    }
  }
}

template <typename Element, int kPlayers, int kCoins>
inline void put_planes(const CoinGameBatch& batch, const CoinLanes<kPlayers, kCoins>& lanes,
                       const int32_t (&places)[kPlayers][kPlayers + kCoins][kLanes], int64_t size,
                       int count, bool stream, Element* out) {
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

// Observations of the first `count` lanes.
template <int kPlayers, int kCoins>
inline void write_obs(const CoinGameBatch& batch, const CoinLanes<kPlayers, kCoins>& lanes,
                      int count, bool stream, void* obs) {
  alignas(64) int32_t places[kPlayers][kPlayers + kCoins][kLanes];
  const int64_t size = coin_obs_size(batch);
  const bool cells = batch.obs_type >= CoinObs::kCells8;
  place_ones(batch.rules, cells ? 0 : static_cast<int32_t>(size), lanes, places);
  switch (batch.obs_type) {
    case CoinObs::kPlanes8:
      return put_planes(batch, lanes, places, size, count, stream, static_cast<uint8_t*>(obs));
    case CoinObs::kPlanes16:
      return put_planes(batch, lanes, places, size, count, stream, static_cast<uint16_t*>(obs));
    case CoinObs::kPlanes32:
      return put_planes(batch, lanes, places, size, count, stream, static_cast<uint32_t*>(obs));
    case CoinObs::kCells8:
      return write_cells(batch, lanes, places, size, count, static_cast<uint8_t*>(obs));
    case CoinObs::kCells16:
      return write_cells(batch, lanes, places, size, count, static_cast<int16_t*>(obs));
    case CoinObs::kCells32:
      return write_cells(batch, lanes, places, size, count, static_cast<int32_t*>(obs));
    case CoinObs::kCells64:
      return write_cells(batch, lanes, places, size, count, static_cast<int64_t*>(obs));
  }
}

}  // namespace
}  // namespace loqa::LOQA_ISA
