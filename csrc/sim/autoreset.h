#pragma once

namespace loqa {

// Whether a step on a device starts the next episode of environments that have ended, and when; on
// the CPU Python does it (loqa/envs/native.py).
enum class Autoreset : int { kOff, kNextStep, kSameStep };

}  // namespace loqa
