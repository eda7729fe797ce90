#pragma once

#include <stdexcept>
#include <string>

namespace pellucid {

/// What went wrong, in the only five ways Pellucid can fail. The numbers are the exit statuses of the program.
enum class ErrorKind {
  kUsage = 2,         ///< The request itself is wrong: an unknown flag, layer, class or an out-of-range parameter.
  kInvalidInput = 3,  ///< A file cannot be read or holds something that is not what it claims to be.
  kUnsupported = 4,   ///< A valid model that uses an operator or a feature Pellucid does not have.
  kFailed = 5,        ///< Something broke while running: out of memory, a full disk, a non-finite result.
  kInterrupted = 130  ///< The user, a signal or a time limit asked to stop.
};

/// The one exception type. `what()` is a single line that says where, what was wrong with the value seen, and what
/// would be accepted; it is fit to be shown to a user as it is.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }
  int exit_status() const { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
};

[[noreturn]] inline void throw_usage(const std::string& message) { throw Error(ErrorKind::kUsage, message); }
[[noreturn]] inline void throw_invalid(const std::string& message) { throw Error(ErrorKind::kInvalidInput, message); }
[[noreturn]] inline void throw_unsupported(const std::string& message) {
  throw Error(ErrorKind::kUnsupported, message);
}
[[noreturn]] inline void throw_failed(const std::string& message) { throw Error(ErrorKind::kFailed, message); }

}  // namespace pellucid
