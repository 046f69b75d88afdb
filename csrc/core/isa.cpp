#include "core/isa.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

namespace loqa {
namespace {

Isa isa_of_name(const std::string& name) {
  std::string known;
  for (Isa isa : supported_isas()) {
    if (name == isa_name(isa)) return isa;
    if (!known.empty()) known += ", ";
    known += isa_name(isa);
  }
  throw std::invalid_argument("instruction set must be one of " + known +
                              " on this machine, got '" + name + "'");
}

Isa initial_isa() {
  const char* wanted = std::getenv("LOQA_ISA");
  return wanted != nullptr && *wanted != '\0' ? isa_of_name(wanted) : supported_isas().back();
}

std::atomic<Isa>& active() {
  static std::atomic<Isa> isa{initial_isa()};
  return isa;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx2:
      return "avx2";
    default:
      return "baseline";
  }
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> isas{Isa::kBaseline};
#if defined(LOQA_HAS_X86)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  if (avx2) isas.push_back(Isa::kAvx2);
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    isas.push_back(Isa::kAvx512);
  }
#endif
  return isas;
}

Isa active_isa() { return active().load(std::memory_order_relaxed); }

void set_isa(const std::string& name) {
  active().store(isa_of_name(name), std::memory_order_relaxed);
}

}  // namespace loqa
