#include "bindings/memory.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <new>
#include <utility>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace loqa {
namespace {

constexpr std::uintptr_t kLine = 64;  // of the cache: vectors that straddle two cost twice
// Large results are filled once and read once: with pages of 2 MiB most of their page faults go.
constexpr int64_t kHuge = 4 << 20;
constexpr std::uintptr_t kPage = 4096;

}  // namespace

Memory::Memory(int64_t bytes) : bytes_(bytes) {
  if (bytes < 0) throw std::invalid_argument("Memory: bytes must not be negative");
  const std::uintptr_t align = bytes >= kHuge ? kPage : kLine;
  allocated_ = std::calloc(static_cast<size_t>(bytes) + align, 1);
  if (allocated_ == nullptr) throw std::bad_alloc();
  const auto start = reinterpret_cast<std::uintptr_t>(allocated_);
  data_ = reinterpret_cast<void*>((start + align - 1) / align * align);
#if defined(MADV_HUGEPAGE)
  if (bytes >= kHuge) madvise(data_, static_cast<size_t>(bytes), MADV_HUGEPAGE);
#endif
}

Memory::Memory(std::uintptr_t address, int64_t bytes, py::object owner)
    : data_(pointer<void>(address)), bytes_(bytes), owner_(std::move(owner)) {
  if (bytes < 0 || (address == 0 && bytes > 0)) {
    throw std::invalid_argument("Memory: an owner without memory");
  }
}

Memory::~Memory() { std::free(allocated_); }

int64_t product_of(std::initializer_list<int64_t> sizes) {
  int64_t product = 1;
  for (int64_t size : sizes) {
    if (size < 0 || __builtin_mul_overflow(product, size, &product)) {
      throw std::invalid_argument("a size is negative or too large");
    }
  }
  return product;
}

void check_memory(const Memory* memory, const char* name, int64_t bytes, int64_t alignment) {
  const int64_t came = memory == nullptr ? 0 : memory->bytes();
  if (came != bytes) {
    throw std::invalid_argument(std::string(name) + " must be of " + std::to_string(bytes) +
                                " bytes, got " + std::to_string(came));
  }
  if (bytes > 0 && reinterpret_cast<std::uintptr_t>(memory->data()) % alignment != 0) {
    throw std::invalid_argument(std::string(name) + " must be aligned to " +
                                std::to_string(alignment) + " bytes");
  }
}

void bind_memory(py::module_& module) {
  py::class_<Memory, MemoryPtr>(module, "Memory", py::buffer_protocol())
      .def(py::init<int64_t>(), py::arg("bytes"), "Zeros, which belong to this object.")
      .def_static(
          "borrow",
          [](std::uintptr_t address, int64_t bytes, py::object owner) {
            return std::make_shared<Memory>(address, bytes, std::move(owner));
          },
          py::arg("address"), py::arg("bytes"), py::arg("owner"))
      .def_buffer([](Memory& memory) {
        return py::buffer_info(static_cast<uint8_t*>(memory.data()), memory.bytes());
      })
      .def_property_readonly("bytes", &Memory::bytes);
}

}  // namespace loqa
