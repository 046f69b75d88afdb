#pragma once

#include "core/vectors.h"
#include "sim/coin_game_words.h"

// Planes of small boards: the zeros and ones of an environment are gathered as bits, and
// the bits of a block become elements, whole lines at a time. Included by coin_game_cpu.cpp alone.

namespace loqa::LOQA_ISA {
namespace {

// Observations that go past the cache are put together here first, a few environments at a time.
constexpr int64_t kScratch = 16 << 10;

// Copies past the cache, whole lines at a time.
inline void stream_copy(const uint8_t* from, int64_t bytes, uint8_t* to) {
  using Vector = VectorOf<uint8_t>::Type;
  constexpr int64_t kLine = 64;
  const int64_t misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(to) % kLine);
  int64_t at = misaligned == 0 ? 0 : kLine - misaligned;
  at = at < bytes ? at : bytes;
  __builtin_memcpy(to, from, static_cast<size_t>(at));
  for (; at + kLine <= bytes; at += kLine) {
    for (int64_t i = at; i < at + kLine; i += kVectorBytes) stream(load<Vector>(from + i), to + i);
  }
  __builtin_memcpy(to + at, from + at, static_cast<size_t>(bytes - at));
}

constexpr int64_t kBitsOfPlayer = 64;

// bits[l] = the ones of a player as bits of a word.
#if defined(__AVX512F__)
constexpr bool kHasBits = true;
template <int kOnes>
inline __m512i bits_of(const uint8_t (&places)[kOnes][kLanes], int first) {
  __m512i seen = _mm512_setzero_si512();
  for (int k = 0; k < kOnes; ++k) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(places[k] + first));
    const __m512i place = _mm512_maskz_cvtepu8_epi64(0xFF, bytes);
    seen = _mm512_or_si512(seen, _mm512_maskz_sllv_epi64(0xFF, _mm512_set1_epi64(1), place));
  }
  return seen;
}
template <int kOnes>
inline void gather_bits(const uint8_t (&places)[kOnes][kLanes], uint64_t (&bits)[kLanes]) {
  for (int l = 0; l < kLanes; l += 8) _mm512_store_si512(bits + l, bits_of(places, l));
}
#elif defined(__AVX2__)
constexpr bool kHasBits = true;
template <int kOnes>
inline void gather_bits(const uint8_t (&places)[kOnes][kLanes], uint64_t (&bits)[kLanes]) {
  for (int l = 0; l < kLanes; l += 4) {
    __m256i seen = _mm256_setzero_si256();
    for (int k = 0; k < kOnes; ++k) {
      int32_t bytes;
      __builtin_memcpy(&bytes, places[k] + l, sizeof(bytes));
      const __m256i place = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(bytes));
      seen = _mm256_or_si256(seen, _mm256_sllv_epi64(_mm256_set1_epi64x(1), place));
    }
    _mm256_store_si256(reinterpret_cast<__m256i*>(bits + l), seen);
  }
}
#else
constexpr bool kHasBits = false;
template <int kOnes>
inline void gather_bits(const uint8_t (&)[kOnes][kLanes], uint64_t (&)[kLanes]) {}
#endif

// The next 64 bytes of elements, from the bits that begin at `bits`.
template <typename Element>
inline void expand_line(const uint8_t* bits, Element one, bool past_cache, Element* out) {
#if defined(__AVX512F__)
  __m512i line;
  if constexpr (sizeof(Element) == 1) {
    uint64_t mask;
    __builtin_memcpy(&mask, bits, sizeof(mask));
    line = _mm512_maskz_set1_epi8(mask, static_cast<char>(one));
  } else if constexpr (sizeof(Element) == 2) {
    uint32_t mask;
    __builtin_memcpy(&mask, bits, sizeof(mask));
    line = _mm512_maskz_set1_epi16(mask, static_cast<int16_t>(one));
  } else {
    uint16_t mask;
    __builtin_memcpy(&mask, bits, sizeof(mask));
    line = _mm512_maskz_set1_epi32(mask, static_cast<int32_t>(one));
  }
  past_cache ? stream(line, out) : store(line, out);
#elif defined(__AVX2__)
  constexpr int kHalf = 32 / sizeof(Element);
  for (int half = 0; half < 2; ++half, bits += kHalf / 8, out += kHalf) {
    __m256i select, ones, seen;
    if constexpr (sizeof(Element) == 1) {
      int32_t word;
      __builtin_memcpy(&word, bits, sizeof(word));
      const __m256i spread =
          _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
      seen = _mm256_shuffle_epi8(_mm256_set1_epi32(word), spread);
      select = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
      ones = _mm256_set1_epi8(static_cast<char>(one));
      select = _mm256_cmpeq_epi8(_mm256_and_si256(seen, select), select);
    } else if constexpr (sizeof(Element) == 2) {
      int16_t word;
      __builtin_memcpy(&word, bits, sizeof(word));
      seen = _mm256_set1_epi16(word);
      select = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192,
                                 16384, -32768);
      ones = _mm256_set1_epi16(static_cast<int16_t>(one));
      select = _mm256_cmpeq_epi16(_mm256_and_si256(seen, select), select);
    } else {
      seen = _mm256_set1_epi32(*bits);
      select = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
      ones = _mm256_set1_epi32(static_cast<int32_t>(one));
      select = _mm256_cmpeq_epi32(_mm256_and_si256(seen, select), select);
    }
    const __m256i line = _mm256_and_si256(select, ones);
    past_cache ? stream(line, out) : store(line, out);
  }
#else
  (void)bits, (void)one, (void)past_cache, (void)out;
#endif
}

// Elements [0, count) from bits; `stream` needs a line's alignment.
template <typename Element>
inline void expand_bits(const uint8_t* bits, int64_t count, Element one, bool stream,
                        Element* out) {
  constexpr int64_t kLine = 64 / sizeof(Element);
  int64_t at = 0;
  if (stream) {
    LOQA_UNROLL(4)
    for (; at + kLine <= count; at += kLine) expand_line(bits + at / 8, one, true, out + at);
  } else {
    LOQA_UNROLL(4)
    for (; at + kLine <= count; at += kLine) expand_line(bits + at / 8, one, false, out + at);
  }
  for (; at < count; ++at) {
    out[at] = (bits[at / 8] >> (at % 8)) & 1 ? one : static_cast<Element>(0);
  }
}

// Bits of all lanes, one after the other: `size` bits of each of the two players.
template <int kOnes>
inline void gather_bits(const uint8_t (&places)[2][kOnes][kLanes], int64_t size, uint8_t* bits) {
  alignas(64) uint64_t player[2][kLanes];
  for (int p = 0; p < 2; ++p) gather_bits(places[p], player[p]);
  // Rows overlap: what a row writes beyond its end, the next one writes over.
  const int64_t env_bytes = 2 * size / 8;
  for (int l = 0; l < kLanes; ++l, bits += env_bytes) {
    const uint64_t low = player[0][l] | (player[1][l] << (size - 1) << 1);
    const uint64_t high = player[1][l] >> (kBitsOfPlayer - size);
    __builtin_memcpy(bits, &low, sizeof(low));
    __builtin_memcpy(bits + sizeof(low), &high, sizeof(high));
  }
}

#if defined(__AVX512F__)
// The same for a board of 3 x 3, in vectors: 72 bits each of eight environments are nine words, of
// which word k ends row k - 1 and begins row k. Shifts by 64 and more, or less than 0, leave
// nothing. Steps and rollouts of uint8 planes take 0.88 to 0.98 of the time (64 to 8,192
// environments, Intel Xeon).
template <int kOnes>
inline void gather_bits_3x3(const uint8_t (&places)[2][kOnes][kLanes], uint8_t* bits) {
  constexpr __mmask8 kAll = 0xFF;  // see PhiloxVector::multiply
  const __m512i ahead = _mm512_setr_epi64(0, 8, 16, 24, 32, 40, 48, 56);
  const __m512i behind = _mm512_sub_epi64(_mm512_set1_epi64(72), ahead);
  const __m512i high_ahead = _mm512_sub_epi64(ahead, _mm512_set1_epi64(8));
  for (int l = 0; l < kLanes; l += 8, bits += 72) {
    const __m512i first = bits_of(places[0], l);
    const __m512i second = bits_of(places[1], l);
    const __m512i low = _mm512_or_si512(first, _mm512_maskz_slli_epi64(kAll, second, 36));
    const __m512i high = _mm512_maskz_srli_epi64(kAll, second, 28);
    const __m512i low_before = _mm512_maskz_alignr_epi64(kAll, low, low, 7);
    const __m512i high_before = _mm512_maskz_alignr_epi64(kAll, high, high, 7);
    __m512i words = _mm512_maskz_sllv_epi64(kAll, low, ahead);
    words = _mm512_or_si512(words, _mm512_maskz_srlv_epi64(kAll, low_before, behind));
    words = _mm512_or_si512(words, _mm512_maskz_sllv_epi64(kAll, high_before, high_ahead));
    _mm512_storeu_si512(bits, words);
    const __m512i last = _mm512_or_si512(_mm512_maskz_srli_epi64(kAll, low, 8),
                                         _mm512_maskz_slli_epi64(kAll, high, 56));
    _mm512_mask_compressstoreu_epi64(bits + 64, 0x80, last);
  }
}
#endif

// Planes of the first `count` lanes; each of the two players sees `size` <= 64 of them, and both
// together a whole number of bytes.
template <typename Element, int kOnes>
inline void put_bits(const uint8_t (&places)[2][kOnes][kLanes], int64_t size, int count,
                     Element one, bool stream, Element* out) {
  alignas(64) uint8_t bits[2 * kBitsOfPlayer / 8 * (kLanes + 1)];
#if defined(__AVX512F__)
  size == 36 ? gather_bits_3x3(places, bits) : gather_bits(places, size, bits);
#else
  gather_bits(places, size, bits);
#endif
  const int64_t elements = 2 * size * count;
  if (!stream || reinterpret_cast<uintptr_t>(out) % 64 == 0) {
    return expand_bits(bits, elements, one, stream, out);
  }
  constexpr int64_t kPart = kScratch / sizeof(Element);
  alignas(64) uint8_t scratch[kScratch];
  for (int64_t at = 0; at < elements; at += kPart) {
    const int64_t part = elements - at < kPart ? elements - at : kPart;
    expand_bits(bits + at / 8, part, one, false, reinterpret_cast<Element*>(scratch));
    stream_copy(scratch, part * static_cast<int64_t>(sizeof(Element)),
                reinterpret_cast<uint8_t*>(out + at));
  }
}

}  // namespace
}  // namespace loqa::LOQA_ISA
