#include <pybind11/pybind11.h>

#include <stdexcept>

#include "bindings/bindings.h"
#include "core/thread_pool.h"
#include "sim/tournament.h"

namespace py = pybind11;

namespace loqa {
namespace {

void play_matches(std::uintptr_t cooperates, std::uintptr_t next, std::uintptr_t first,
                  std::uintptr_t pairs, int64_t matches, int64_t turns, int64_t repeats,
                  uint64_t seed, std::uintptr_t counts, int num_threads) {
  if (matches < 0 || turns < 0 || repeats < 0) {
    throw std::invalid_argument("tournament: matches, turns and repeats must not be negative");
  }
  const Machines machines{pointer<const int32_t>(cooperates), pointer<const int32_t>(next),
                          pointer<const int32_t>(first)};
  const NativeCall call(/*is_long=*/true);
  parallel_for(matches, 1, 1, num_threads, [&](int64_t begin, int64_t end) {
    LOQA_DISPATCH(tournament_matches, machines, pointer<const int32_t>(pairs), turns, repeats, seed,
                  pointer<int32_t>(counts), begin, end);
  });
}

}  // namespace

void bind_tournament(py::module_& module) {
  module.def("tournament", &play_matches, py::kw_only(), py::arg("cooperates"), py::arg("next"),
             py::arg("first"), py::arg("pairs"), py::arg("matches"), py::arg("turns"),
             py::arg("repeats"), py::arg("seed"), py::arg("counts"), py::arg("num_threads"));
}

}  // namespace loqa
