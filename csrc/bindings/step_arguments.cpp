#include "bindings/step_arguments.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "bindings/memory.h"

namespace py = pybind11;

namespace loqa {
namespace {

// The parts of DLPack's binary interface (version 1) that are used here.
struct DlTensor {
  void* data;
  int32_t device_type;
  int32_t device_id;
  int32_t rank;
  uint8_t type_code;
  uint8_t type_bits;
  uint16_t type_lanes;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DlExchange {
  uint32_t major, minor;
  void* older;
  void* allocate;
  void* managed_of;
  void* object_of;
  int (*tensor_of)(void* object, DlTensor* out);  // borrows; may be null
  void* stream;
};
enum DlCode : uint8_t { kDlInt = 0, kDlUnsigned = 1, kDlBool = 6 };
constexpr int32_t kDlCpu = 1;
constexpr uintptr_t kLowest = uintptr_t{1} << 32;
// From here on looking at the size of a tensor's storage takes no measurable part of a step.
constexpr int64_t kWorthALook = 64 << 10;

// torch.Tensor, and how to ask where one lies (null: by calling its methods). Set once at import.
PyTypeObject* g_tensor_type = nullptr;
PyObject* g_is_neg = nullptr;   // torch.Tensor.is_neg
PyObject* g_storage = nullptr;  // torch.Tensor.untyped_storage
PyObject* g_offset = nullptr;   // torch.Tensor.storage_offset
PyObject* g_nbytes = nullptr;   // torch.UntypedStorage.nbytes
PyTypeObject* g_memory_type = nullptr;
int (*g_tensor_of)(void*, DlTensor*) = nullptr;

bool dl_tensor_of(py::handle object, DlTensor* tensor) {
  if (g_tensor_of(object.ptr(), tensor) == 0) return true;
  PyErr_Clear();  // a tensor without memory of its own
  return false;
}

// Whether a tensor stands for the negative of what is in its memory, which DLPack does not say.
bool stands_for_negative(py::handle tensor) {
  PyObject* const arguments[] = {tensor.ptr()};
  PyObject* answer = PyObject_Vectorcall(g_is_neg, arguments, 1, nullptr);
  if (answer == nullptr) PyErr_Clear();
  const bool negative = answer != Py_False;
  Py_XDECREF(answer);
  return negative;
}

// What a method without arguments answers as a number, -1 if it fails.
int64_t number_of(PyObject* method, py::handle object) {
  PyObject* const arguments[] = {object.ptr()};
  const auto answer =
      py::reinterpret_steal<py::object>(PyObject_Vectorcall(method, arguments, 1, nullptr));
  const int64_t number = answer ? PyLong_AsLongLong(answer.ptr()) : -1;
  PyErr_Clear();
  return number;
}

// Whether a tensor's storage reaches to the end of what it shows: it may have been cut under it.
bool holds(py::handle tensor, int64_t count, int64_t element) {
  PyObject* const arguments[] = {tensor.ptr()};
  const auto storage =
      py::reinterpret_steal<py::object>(PyObject_Vectorcall(g_storage, arguments, 1, nullptr));
  if (!storage) {
    PyErr_Clear();
    return false;
  }
  const int64_t offset = number_of(g_offset, tensor);
  return offset >= 0 && number_of(g_nbytes, storage) >= (offset + count) * element;
}

// Types wider than a byte that the core reads as signed: what is negative then is out of range.
bool action_type(bool is_signed, int64_t bytes, ActionType* type) {
  switch (bytes) {
    case 1:
      *type = is_signed ? ActionType::kInt8 : ActionType::kUint8;
      return true;
    case 2:
      *type = ActionType::kInt16;
      return true;
    case 4:
      *type = ActionType::kInt32;
      return true;
    case 8:
      *type = ActionType::kInt64;
      return true;
    default:
      return false;
  }
}

bool finish(const void* data, int64_t count, int64_t element, ActionArray* actions) {
  actions->data = data;
  actions->bytes = count * element;
  return count == 0 || (data != nullptr && reinterpret_cast<uintptr_t>(data) % element == 0);
}

bool read_tensor(py::handle given, const std::vector<int64_t>& shape, ActionArray* actions) {
  DlTensor tensor;
  if (g_tensor_of == nullptr || !dl_tensor_of(given, &tensor)) return false;
  const bool integers =
      tensor.type_code == kDlInt || tensor.type_code == kDlUnsigned || tensor.type_code == kDlBool;
  if (!integers || tensor.device_type != kDlCpu || tensor.type_lanes != 1 ||
      tensor.rank != static_cast<int32_t>(shape.size())) {
    return false;
  }
  int64_t count = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (tensor.shape[i] != shape[i]) return false;
    if (shape[i] != 1 && tensor.strides != nullptr && tensor.strides[i] != count) return false;
    count *= shape[i];
  }
  if (stands_for_negative(given)) return false;
  // A tensor whose storage was taken away lies at its offset from address 0: Python finds out.
  const char* data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  if (reinterpret_cast<uintptr_t>(data) < kLowest) return false;
  const int64_t element = tensor.type_bits / 8;
  if (count * element >= kWorthALook && !holds(given, count, element)) return false;
  return action_type(tensor.type_code == kDlInt, element, &actions->type) &&
         finish(data, count, element, actions);
}

// Bytes, for callers without torch and NumPy.
bool read_memory(py::handle given, const std::vector<int64_t>& shape, ActionArray* actions) {
  const auto& memory = given.cast<const Memory&>();
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  if (memory.bytes() != count) return false;
  actions->type = ActionType::kUint8;
  return finish(memory.data(), count, 1, actions);
}

bool read_array(py::handle given, const std::vector<int64_t>& shape, ActionArray* actions) {
  const auto array = py::reinterpret_borrow<py::array>(given);
  if (array.ndim() != static_cast<py::ssize_t>(shape.size()) ||
      !std::equal(shape.begin(), shape.end(), array.shape()) ||
      (array.flags() & py::array::c_style) == 0) {
    return false;
  }
  const py::dtype type = array.dtype();
  const char kind = type.kind();
  const char order = type.byteorder();
  if ((kind != 'i' && kind != 'u' && kind != 'b') || (order != '=' && order != '|')) return false;
  return action_type(kind == 'i', type.itemsize(), &actions->type) &&
         finish(array.data(), array.size(), type.itemsize(), actions);
}

}  // namespace

bool read_actions(py::handle given, const std::vector<int64_t>& shape, ActionArray* actions) {
  PyTypeObject* type = Py_TYPE(given.ptr());
  if (type == g_tensor_type) return read_tensor(given, shape, actions);
  if (type == g_memory_type) return read_memory(given, shape, actions);
  // Exactly an array: those of a subclass may mean something else (a masked array).
  return type == py::detail::npy_api::get().PyArray_Type_ && read_array(given, shape, actions);
}

void ShownResults::show(const py::tuple& tensors) {
  std::vector<Place> places;
  for (const py::handle tensor : tensors) {
    if (Py_TYPE(tensor.ptr()) != g_tensor_type) throw std::invalid_argument("show: not a tensor");
    places.push_back(place_of(tensor));
  }
  tensors_ = tensors;
  places_ = std::move(places);
  shown_ = true;
}

bool ShownResults::intact() const {
  for (size_t i = 0; i < places_.size(); ++i) {
    const py::handle tensor = PyTuple_GET_ITEM(tensors_.ptr(), static_cast<py::ssize_t>(i));
    const Place& place = places_[i];
    if (g_tensor_of != nullptr) {  // nothing is made or copied: this is done at every step
      DlTensor now;
      if (!dl_tensor_of(tensor, &now) ||
          static_cast<char*>(now.data) + now.byte_offset != place.data ||
          now.rank != static_cast<int32_t>(place.shape.size()) ||
          !std::equal(place.shape.begin(), place.shape.end(), now.shape) ||
          now.strides == nullptr ||
          !std::equal(place.strides.begin(), place.strides.end(), now.strides)) {
        return false;
      }
    } else if (!(place_of(tensor) == place)) {
      return false;
    }
  }
  return shown_;
}

ShownResults::Place ShownResults::place_of(py::handle tensor) {
  return {reinterpret_cast<const void*>(tensor.attr("data_ptr")().cast<std::uintptr_t>()),
          tensor.attr("shape").cast<std::vector<int64_t>>(),
          tensor.attr("stride")().cast<std::vector<int64_t>>()};
}

void bind_step_arguments(py::module_& module) {
  g_memory_type = reinterpret_cast<PyTypeObject*>(py::type::of<Memory>().inc_ref().ptr());
  module.def(
      "set_tensor_type",
      [](const py::type& type, bool by_exchange) {
        g_tensor_type = reinterpret_cast<PyTypeObject*>(type.inc_ref().ptr());
        g_is_neg = py::object(type.attr("is_neg")).release().ptr();
        g_storage = py::object(type.attr("untyped_storage")).release().ptr();
        g_offset = py::object(type.attr("storage_offset")).release().ptr();
        const py::object storages = py::module_::import("torch").attr("UntypedStorage");
        g_nbytes = py::object(storages.attr("nbytes")).release().ptr();
        g_tensor_of = nullptr;
        constexpr char kTable[] = "__dlpack_c_exchange_api__";
        if (!by_exchange || !py::hasattr(type, kTable)) return false;
        const py::object capsule = type.attr(kTable);
        const auto* table = static_cast<const DlExchange*>(
            PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
        if (table == nullptr) throw py::error_already_set();
        if (table->major == 1) g_tensor_of = table->tensor_of;
        return g_tensor_of != nullptr;
      },
      py::arg("type"), py::arg("by_exchange"),
      "Tells the core which class torch's tensors are of; whether it reads them by itself.");
}

}  // namespace loqa
