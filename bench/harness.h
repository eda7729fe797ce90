#pragma once

#include <functional>
#include <string>
#include <vector>

namespace pellucid::bench {

/// One way to do a task. The first of a comparison is ours, the second what it is measured against.
struct Alternative {
  std::string name;
  std::function<void()> run;
};

/// Milliseconds of one alternative over all repeats.
struct Timing {
  double best = 0;
  double median = 0;
  double spread = 0;  ///< Interquartile range over the median.
};
Timing timing_of(std::vector<double> milliseconds);

struct HarnessOptions {
  double seconds = 4;  ///< For each comparison.
  int least_repeats = 7;
  int most_repeats = 200;
};

/// Runs the alternatives in turn, so that what else the machine does falls on all of them, after one warm-up each, and
/// prints a line for each: best, median, spread, and the ratios of ours to the other in both. `target` is the largest
/// ratio of the best times that we want; 0 for none.
void compare(const std::string& task, const std::vector<Alternative>& alternatives, double target,
             const HarnessOptions& options);

/// CPU, cores, threads, LibTorch and commit on one line each.
void print_machine(const std::string& source_folder);

/// The heading above the lines of `compare`.
void print_heading();

/// What a child process took.
struct ProcessCost {
  double seconds = 0;
  double megabytes = 0;  ///< Largest resident set.
  int status = 0;
};
/// Runs a program with its output thrown away.
ProcessCost run_process(const std::vector<std::string>& arguments);

}  // namespace pellucid::bench
