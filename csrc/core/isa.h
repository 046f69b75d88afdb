#pragma once

#include <string>
#include <vector>

// Instruction sets chosen at run time. A file listed under LOQA_SIMD_SOURCES in CMakeLists.txt is
// compiled once for each of them, inside `namespace loqa::LOQA_ISA`; it must give everything it
// defines internal linkage except the entry points declared with LOQA_DECLARE_ISA. It must also
// call no inline function of the standard library (the linker keeps one copy of those, of any
// instruction set).

#if defined(__x86_64__) || defined(_M_X64)
#define LOQA_HAS_X86 1
#endif

namespace loqa {

enum class Isa { kBaseline, kAvx2, kAvx512 };

const char* isa_name(Isa isa);
// Those that this processor can run, the best last.
std::vector<Isa> supported_isas();
// The best supported one, unless set_isa or the environment variable LOQA_ISA says otherwise.
Isa active_isa();
// Throws std::invalid_argument for a name that is unknown here or that the processor cannot run.
void set_isa(const std::string& name);

}  // namespace loqa

#if defined(LOQA_HAS_X86)
#define LOQA_DECLARE_ISA(...) \
  namespace baseline {        \
  __VA_ARGS__                 \
  }                           \
  namespace avx2 {            \
  __VA_ARGS__                 \
  }                           \
  namespace avx512 {          \
  __VA_ARGS__                 \
  }
// Calls loqa::<active instruction set>::function(arguments).
#define LOQA_DISPATCH(function, ...)                                                       \
  (::loqa::active_isa() == ::loqa::Isa::kAvx512                                            \
       ? ::loqa::avx512::function(__VA_ARGS__)                                             \
       : (::loqa::active_isa() == ::loqa::Isa::kAvx2 ? ::loqa::avx2::function(__VA_ARGS__) \
                                                     : ::loqa::baseline::function(__VA_ARGS__)))
#else
#define LOQA_DECLARE_ISA(...) \
  namespace baseline {        \
  __VA_ARGS__                 \
  }
#define LOQA_DISPATCH(function, ...) ::loqa::baseline::function(__VA_ARGS__)
#endif
