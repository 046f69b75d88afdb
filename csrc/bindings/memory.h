#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>

namespace loqa {

// Bytes that a simulator works on. Memory of the host belongs to this object: it is never moved,
// and lives as long as anybody refers to it, a simulator or an array that shows it. So whatever
// Python does to the tensors that show it, the core reads and writes what is its own. Borrowed
// memory (of a device, or of a tensor that a caller made for one call) is kept alive by its owner.
class Memory {
 public:
  explicit Memory(int64_t bytes);
  Memory(std::uintptr_t address, int64_t bytes, pybind11::object owner);
  Memory(const Memory&) = delete;
  ~Memory();

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  bool overlaps(const void* begin, int64_t bytes) const {
    const auto* mine = static_cast<const char*>(data_);
    const auto* other = static_cast<const char*>(begin);
    return other < mine + bytes_ && mine < other + bytes;
  }

 private:
  void* data_;
  int64_t bytes_;
  void* allocated_ = nullptr;
  pybind11::object owner_;
};

using MemoryPtr = std::shared_ptr<Memory>;

// The product of sizes, or std::invalid_argument where it is negative or does not fit.
int64_t product_of(std::initializer_list<int64_t> sizes);

// std::invalid_argument if `memory` is not exactly so long, or not aligned.
void check_memory(const Memory* memory, const char* name, int64_t bytes, int64_t alignment);

// The start of `memory` as an array of that many T, checked; null stands for an array without any.
template <typename T>
T* array_of(const MemoryPtr& memory, const char* name, std::initializer_list<int64_t> sizes) {
  const int64_t bytes = product_of({product_of(sizes), static_cast<int64_t>(sizeof(T))});
  check_memory(memory.get(), name, bytes, static_cast<int64_t>(alignof(T)));
  return memory == nullptr ? nullptr : static_cast<T*>(memory->data());
}
// The same of elements that are so many bytes long.
inline void* bytes_of(const MemoryPtr& memory, const char* name,
                      std::initializer_list<int64_t> sizes, int64_t element) {
  check_memory(memory.get(), name, product_of({product_of(sizes), element}), element);
  return memory == nullptr ? nullptr : memory->data();
}

void bind_memory(pybind11::module_& module);

}  // namespace loqa
