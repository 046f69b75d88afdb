#pragma once

#include <cstdint>

#include "core/isa.h"
#include "games/coin_game.h"
#include "sim/actions.h"

namespace loqa {

// Types of the observation: planes by the size of an element, or places of the ones.
enum class CoinObs : int { kPlanes8, kPlanes16, kPlanes32, kCells8, kCells16, kCells32, kCells64 };

inline constexpr int64_t kCoinBlock = 64;  // environments that a block of vectors works on

// A batch of Coin Games. Arrays belong to the caller and outlive this. `stride` is num_envs rounded
// up to whole blocks; lanes beyond num_envs hold states like any other.
struct CoinGameBatch {
  CoinRules rules;
  int64_t num_envs;
  int64_t stride;
  uint64_t seed;
  uint32_t first_env;  // number of environment 0 in the random counters
  int32_t episode_length;
  CoinObs obs_type;
  uint32_t values[5];  // -2 .. 2 as elements of the planes
  // [S, stride]: row and column of each player, of each coin; owner of the one coin;
  // with history last rewards.
  uint8_t* state;
  int32_t* t;         // [num_envs]
  uint32_t* episode;  // [num_envs]
  uint32_t* words;    // [coins, 4, stride]: random words of steps 4 tag .. 4 tag + 3
  int32_t* tag;       // [stride], -1: none
};

// Elements of one player's observation.
LOQA_HD int64_t coin_obs_size(const CoinGameBatch& batch) {
  const CoinRules& rules = batch.rules;
  const int64_t history = rules.history ? rules.num_players + 1 : 0;
  if (batch.obs_type >= CoinObs::kCells8) return rules.num_players + rules.num_coins + history;
  return (coin_planes(rules) + history) * rules.height * rules.width;
}

LOQA_HD int64_t coin_element_size(CoinObs type) {
  switch (type) {
    case CoinObs::kPlanes8:
    case CoinObs::kCells8:
      return 1;
    case CoinObs::kPlanes16:
    case CoinObs::kCells16:
      return 2;
    case CoinObs::kCells64:
      return 8;
    default:
      return 4;
  }
}

// Bytes of state of one environment.
LOQA_HD int64_t coin_state_rows(const CoinRules& rules) {
  const int64_t owner = rules.num_coins == 1 ? 1 : 0;
  return 2 * rules.num_players + 2 * rules.num_coins + owner +
         (rules.history ? rules.num_players : 0);
}

// Who plays in a rollout: for each player a ScriptedCoin, or -1 for given actions.
struct CoinPlayers {
  int kind[kMaxCoinPlayers];
  bool tie_episode;  // ties are drawn once an episode, else every step
};

// Results of `steps` steps: obs [steps, B, A, size], rewards [steps, B, A]; truncated [B] for one
// step, else null. `stream`: results are larger than the cache, write past it.
struct CoinResults {
  void* obs;
  float* rewards;
  uint8_t* truncated;
  bool stream;
};

// Every function below works on environments [begin, end), begin a multiple of kCoinBlock.
LOQA_DECLARE_ISA(

    // Largest of `count` actions as a byte; 255 stands for whatever is not in 0..254.
    uint8_t coin_largest_action(const void* actions, ActionType type, int64_t count);

    // Starts episodes, where `mask` is not null only of the environments in it.
    void coin_reset(const CoinGameBatch& batch, const uint8_t* mask, int64_t begin, int64_t end);

    // Writes what each player sees now: obs [B, A, size].
    void coin_observe(const CoinGameBatch& batch, void* obs, int64_t begin, int64_t end);

    // Given actions [steps, B, A]. Reads the state and t of the batch and writes the state after
    // the last step to `state` (the batch's own, or another of the same shape); t only moves if
    // results.truncated is not null. Returns the largest action met.
    uint8_t coin_steps(const CoinGameBatch& batch, const void* actions, ActionType type,
                       int64_t steps, const CoinResults& results, uint8_t* state, int64_t begin,
                       int64_t end);

    // What scripted players do now, into actions [B, A]; those of the others stay.
    void coin_choose(const CoinGameBatch& batch, const CoinPlayers& players, uint8_t* actions,
                     int64_t begin, int64_t end);

    // Scripted players (and given ones: their actions [steps, B, A] are there already) for `steps`
    // steps; fills in `actions` and moves the state and t.
    void coin_play(const CoinGameBatch& batch, const CoinPlayers& players, int64_t steps,
                   uint8_t* actions, const CoinResults& results, int64_t begin, int64_t end);)

}  // namespace loqa
