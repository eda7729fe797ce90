#include "pellucid/progress.h"

#include "pellucid/error.h"

namespace pellucid {

void Progress::report(double /*done*/, double /*total*/, const std::string& /*what*/) {}

void Progress::set_deadline(std::chrono::steady_clock::time_point deadline) {
  deadline_ = deadline;
  has_deadline_ = true;
}

void Progress::check() const {
  if (cancelled()) throw Error(ErrorKind::kInterrupted, "interrupted");
  if (has_deadline_ && std::chrono::steady_clock::now() >= deadline_) {
    throw Error(ErrorKind::kInterrupted, "the time limit has passed");
  }
}

}  // namespace pellucid
