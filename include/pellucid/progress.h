#pragma once

#include <atomic>
#include <chrono>
#include <string>

namespace pellucid {

/// Long work reports to one of these and asks it whether to go on. The default does nothing and never stops. A subclass
/// that shows a bar overrides `report`. Safe to cancel from another thread or a signal handler.
class Progress {
 public:
  virtual ~Progress() = default;

  /// `done` of `total` units of `what`; total is 0 when it is not known. Called from the working thread only.
  virtual void report(double done, double total, const std::string& what);

  /// Asks the work to stop. Only sets a flag, so that it may be called from a signal handler.
  void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

  /// The work fails with Error(kInterrupted) once this moment has passed.
  void set_deadline(std::chrono::steady_clock::time_point deadline);

  /// Throws Error(kInterrupted) when cancelled or past the deadline.
  virtual void check() const;

 private:
  std::atomic<bool> cancelled_{false};
  bool has_deadline_ = false;
  std::chrono::steady_clock::time_point deadline_{};
};

}  // namespace pellucid
