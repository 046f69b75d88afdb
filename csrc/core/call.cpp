#include "core/call.h"

namespace loqa {
namespace {

constexpr std::chrono::milliseconds kBetweenAsking{50};
// The clock is read every so many visits of a loop: it takes ten times as long as the rest.
constexpr int kVisitsPerLook = 16;

thread_local Call* t_call = nullptr;

}  // namespace

Call::Call(Ends ends, void* context)
    : ends_(ends), context_(context), caller_(&t_call), outer_(t_call) {
  t_call = this;
}

Call::~Call() { t_call = outer_; }

Call* Call::current() { return t_call; }

bool Call::ask() {
  const auto now = std::chrono::steady_clock::now();
  if (next_ == std::chrono::steady_clock::time_point{}) next_ = now + kBetweenAsking;
  if (now < next_) return interrupted();
  next_ = now + kBetweenAsking;
  if (!interrupted() && ends_(context_)) interrupted_ = true;
  return interrupted();
}

bool interrupted() {
  Call* call = t_call;
  if (call == nullptr) return false;
  if (call->interrupted()) return true;
  if (call->caller_ != &t_call || ++call->visits_ % kVisitsPerLook != 0) return false;
  return call->ask();
}

WorksFor::WorksFor(Call* call) : outer_(t_call) { t_call = call; }

WorksFor::~WorksFor() { t_call = outer_; }

}  // namespace loqa
