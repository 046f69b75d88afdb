#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "bindings/bindings.h"
#include "core/thread_pool.h"
#include "sim/tournament.h"

namespace py = pybind11;

namespace loqa {
namespace {

// Outcomes are counted, and rows of `next` are numbered, in 32 bits; pairs of machines in 16 each.
constexpr int64_t kMaxTurns = INT32_MAX;
constexpr int64_t kMaxRows = INT32_MAX / 4;
constexpr int64_t kMaxMachines = int64_t{1} << 16;

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("tournament: " + what);
}

// An array of int32 that lies contiguous in memory, kept while this lives.
class Table {
 public:
  Table(const char* name, const py::buffer& from, int64_t dimensions, bool writable)
      : info_(from.request(writable)) {
    bool fits = info_.ndim == dimensions && info_.itemsize == sizeof(int32_t) &&
                info_.format == py::format_descriptor<int32_t>::format() &&
                reinterpret_cast<std::uintptr_t>(info_.ptr) % alignof(int32_t) == 0;
    int64_t stride = sizeof(int32_t);
    for (int64_t i = dimensions - 1; fits && i >= 0; --i) {
      fits = info_.shape[static_cast<size_t>(i)] < 2 ||
             info_.strides[static_cast<size_t>(i)] == stride;
      stride *= info_.shape[static_cast<size_t>(i)];
    }
    if (!fits) {
      refuse(std::string(name) + " must be a contiguous int32 array of " +
             std::to_string(dimensions) + " dimensions");
    }
  }
  int64_t size(size_t dimension) const { return info_.shape[dimension]; }
  int32_t* data() const { return static_cast<int32_t*>(info_.ptr); }

 private:
  py::buffer_info info_;
};

// Every machine has rows, its rows follow those of the one before, and no step leaves them.
void check_machines(const Table& cooperates, const Table& next, const Table& first) {
  const int64_t rows = cooperates.size(0), machines = first.size(0) - 1;
  if (rows > kMaxRows || next.size(0) != rows || next.size(1) != 4) {
    refuse("next must be [" + std::to_string(rows) + ", 4], a row for each of cooperates");
  }
  if (machines < 0 || machines > kMaxMachines || first.data()[0] != 0 ||
      first.data()[machines] != rows) {
    refuse("first must be [machines + 1], from 0 to the number of rows");
  }
  for (int64_t machine = 0; machine < machines; ++machine) {
    const int64_t begin = first.data()[machine], end = first.data()[machine + 1];
    if (begin >= end || end > rows) refuse("first must grow from machine to machine");
    for (int64_t i = 4 * begin; i < 4 * end; ++i) {
      if (next.data()[i] < begin || next.data()[i] >= end) {
        refuse("next leads out of machine " + std::to_string(machine));
      }
    }
  }
}

void play_matches(const py::buffer& cooperates, const py::buffer& next, const py::buffer& first,
                  const py::buffer& pairs, int64_t turns, uint64_t seed, const py::buffer& counts,
                  int num_threads) {
  const Table cooperates_table("cooperates", cooperates, 1, false),
      next_table("next", next, 2, false), first_table("first", first, 1, false),
      pairs_table("pairs", pairs, 2, false), counts_table("counts", counts, 3, true);
  if (turns < 0 || turns > kMaxTurns) {
    refuse("turns must be in [0, " + std::to_string(kMaxTurns) + "], got " + std::to_string(turns));
  }
  if (first_table.size(0) < 1) refuse("first must be [machines + 1]");
  check_machines(cooperates_table, next_table, first_table);
  const int64_t matches = pairs_table.size(0), machines = first_table.size(0) - 1;
  if (pairs_table.size(1) != 2 || counts_table.size(0) != matches || counts_table.size(2) != 4) {
    refuse("pairs must be [matches, 2] and counts [matches, repeats, 4]");
  }
  for (int64_t i = 0; i < 2 * matches; ++i) {
    const int32_t machine = pairs_table.data()[i];
    if (machine < 0 || machine >= machines) {
      refuse("pairs name machine " + std::to_string(machine) + " of " + std::to_string(machines));
    }
  }
  const Machines tables{cooperates_table.data(), next_table.data(), first_table.data()};
  const int64_t repeats = counts_table.size(1);
  const NativeCall call(/*is_long=*/true);
  parallel_for(matches, 1, 1, num_threads, [&](int64_t begin, int64_t end) {
    LOQA_DISPATCH(tournament_matches, tables, pairs_table.data(), turns, repeats, seed,
                  counts_table.data(), begin, end);
  });
}

}  // namespace

void bind_tournament(py::module_& module) {
  module.def("tournament", &play_matches, py::kw_only(), py::arg("cooperates"), py::arg("next"),
             py::arg("first"), py::arg("pairs"), py::arg("turns"), py::arg("seed"),
             py::arg("counts"), py::arg("num_threads"));
}

}  // namespace loqa
