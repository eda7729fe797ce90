#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>

#include "pellucid/error.h"

namespace pellucid::test {

/// No rejected input may keep a user waiting longer than this.
constexpr double kMaxSecondsToReject = 2.0;

/// `action` must throw pellucid::Error of this kind with exactly this text, in time, as one line fit for a terminal.
inline void expect_error(ErrorKind kind, const std::string& message, const std::function<void()>& action) {
  const auto start = std::chrono::steady_clock::now();
  try {
    action();
    ADD_FAILURE() << "accepted; expected the error: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), message);
    EXPECT_EQ(error.exit_status(), static_cast<int>(kind)) << error.what();
    for (const char* c = error.what(); *c; ++c) {
      EXPECT_FALSE(static_cast<unsigned char>(*c) < 0x20 || *c == 0x7f) << "control character in: " << error.what();
    }
  } catch (const std::exception& other) {
    ADD_FAILURE() << "not a pellucid::Error: " << other.what() << "; expected: " << message;
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_LT(elapsed.count(), kMaxSecondsToReject) << message;
}

}  // namespace pellucid::test
