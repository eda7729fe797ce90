#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/temporary_folder.h"

namespace pellucid::test {

struct ProgramResult {
  int status = -1;  ///< Exit status, or -1 when a signal ended the program.
  int signal = 0;   ///< SIGKILL when the time limit did.
  std::string out, err;
};

struct ProgramOptions {
  std::string folder;                ///< Where the program runs; empty: here.
  std::function<void()> in_child;    ///< Between fork and exec: limits, environment, closed streams.
  std::function<bool(pid_t)> watch;  ///< Called every few milliseconds until it returns false.
  double limit_seconds = 120;
};

inline std::string file_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// Runs the program with these arguments, without a shell, and waits for it.
inline ProgramResult run_program(const std::string& program, const std::vector<std::string>& arguments,
                                 const ProgramOptions& options = {}) {
  const TemporaryFolder scratch;
  const std::string out = scratch.file("out"), err = scratch.file("err");
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) ::_exit(126);
    ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
    ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    if (options.in_child) options.in_child();
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  ProgramResult result;
  const auto start = std::chrono::steady_clock::now();
  bool watching = static_cast<bool>(options.watch);
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (watching) watching = options.watch(child);
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > options.limit_seconds) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  if (WIFEXITED(status)) result.status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  result.out = file_text(out);
  result.err = file_text(err);
  return result;
}

}  // namespace pellucid::test
