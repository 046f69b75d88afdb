#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "core/cgroup.h"
#include "core/isa.h"
#include "core/philox.h"
#include "core/thread_pool.h"

namespace py = pybind11;

namespace loqa {
void bind_meta_game(py::module_& module);
}

PYBIND11_MODULE(_core, module) {
  module.doc() = "Native core of loqa: simulators and sequence kernels over raw memory.";
  module.attr("__version__") = LOQA_VERSION;
  module.attr("has_cuda") = loqa::kWithCuda;
  module.def("isa", [] { return std::string(loqa::isa_name(loqa::active_isa())); });
  module.def("supported_isas", [] {
    std::vector<std::string> names;
    for (loqa::Isa isa : loqa::supported_isas()) names.emplace_back(loqa::isa_name(isa));
    return names;
  });
  module.def("set_isa", &loqa::set_isa, py::arg("name"));
  module.def("default_num_threads", &loqa::default_num_threads);
  module.def("cgroup_cpus", &loqa::cgroup_cpus, py::arg("root"));
  module.def(
      "philox",
      [](uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
        const loqa::PhiloxBlock block = loqa::philox(key, c0, c1, c2, c3);
        return py::make_tuple(block.word[0], block.word[1], block.word[2], block.word[3]);
      },
      py::arg("key"), py::arg("c0"), py::arg("c1"), py::arg("c2"), py::arg("c3"));
  module.def(
      "emulate_cuda", [](bool on) { loqa::emulate_cuda = on; }, py::arg("on"),
      "For tests: whether *_cuda functions run the code of the GPU's threads on the host.");
  loqa::register_interrupted();
  loqa::bind_memory(module);
  loqa::bind_step_arguments(module);
  loqa::bind_game(module);
  loqa::bind_gru(module);
  loqa::bind_head_step(module);
  loqa::bind_kernels(module);
  loqa::bind_meta_game(module);
  loqa::bind_tournament(module);
  loqa::bind_coin(module);
}
