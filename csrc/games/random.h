#pragma once

#include <cstdint>

#include "core/philox.h"

namespace loqa {

// Where an environment is in its random numbers: block(draw) is a pure function of that.
struct GameRandom {
  uint64_t seed;
  uint32_t env;
  uint32_t episode;
  uint32_t t;

  LOQA_HD PhiloxBlock block(uint32_t draw) const { return philox(seed, env, episode, t, draw); }
};

}  // namespace loqa
