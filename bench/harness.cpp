#include "harness.h"

#include <ATen/Parallel.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <torch/version.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace pellucid::bench {

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string commit_of(const std::string& folder) {
  std::string text;
  const std::string command = "git -C '" + folder + "' describe --always --dirty 2>/dev/null";
  if (FILE* pipe = ::popen(command.c_str(), "r")) {
    std::array<char, 128> buffer{};
    if (std::fgets(buffer.data(), buffer.size(), pipe)) text = buffer.data();
    ::pclose(pipe);
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.empty() ? "unknown" : text;
}

}  // namespace

Timing timing_of(std::vector<double> milliseconds) {
  std::sort(milliseconds.begin(), milliseconds.end());
  const auto quantile = [&](double q) {
    return milliseconds[static_cast<size_t>(q * static_cast<double>(milliseconds.size() - 1) + 0.5)];
  };
  return {milliseconds.front(), quantile(0.5), (quantile(0.75) - quantile(0.25)) / quantile(0.5)};
}

void compare(const std::string& task, const std::vector<Alternative>& alternatives, double target,
             const HarnessOptions& options) {
  std::vector<std::vector<double>> times(alternatives.size());
  for (const Alternative& a : alternatives) a.run();
  const auto begin = Clock::now();
  for (int repeat = 0; repeat < options.most_repeats; ++repeat) {
    if (repeat >= options.least_repeats && milliseconds_since(begin) > options.seconds * 1e3) break;
    for (size_t k = 0; k < alternatives.size(); ++k) {
      // Everyone is first in turn: what runs first finds other things in the caches.
      const size_t i = (k + static_cast<size_t>(repeat)) % alternatives.size();
      const auto start = Clock::now();
      alternatives[i].run();
      times[i].push_back(milliseconds_since(start));
    }
  }
  const Timing other = timing_of(times.back());
  for (size_t i = 0; i < alternatives.size(); ++i) {
    const Timing t = timing_of(times[i]);
    std::printf("%-34s %-22s %9.2f %9.2f %6.0f%%", i == 0 ? task.c_str() : "", alternatives[i].name.c_str(), t.best,
                t.median, t.spread * 100);
    if (i + 1 < alternatives.size()) {
      std::printf(" %7.2f %7.2f", t.best / other.best, t.median / other.median);
      if (target > 0) std::printf("   <= %.2f %s", target, t.best / other.best <= target ? "yes" : "NO");
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

void print_machine(const std::string& source_folder) {
  std::printf("CPU       %s, %u cores\n", cpu_name().c_str(), std::thread::hardware_concurrency());
  std::printf("threads   %d\n", at::get_num_threads());
  std::printf("LibTorch  %s\n", TORCH_VERSION);
  std::printf("commit    %s\n\n", commit_of(source_folder).c_str());
}

void print_heading() {
  std::printf("%-34s %-22s %9s %9s %7s %7s %7s   %s\n", "task", "", "best ms", "median", "spread", "ratio", "(med.)",
              "wanted");
}

ProcessCost run_process(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const auto start = Clock::now();
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot start " + arguments[0]);
  if (child == 0) {
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, 1);
    ::dup2(null, 2);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  rusage usage{};
  if (::wait4(child, &status, 0, &usage) != child) throw std::runtime_error("lost " + arguments[0]);
  return {milliseconds_since(start) / 1e3, static_cast<double>(usage.ru_maxrss) / 1024,
          WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
}

}  // namespace pellucid::bench
