#include <chrono>
#include <cmath>

#include "pellucid/learner.h"
#include "pellucid/text.h"

namespace pellucid {

double warmed_cosine(double largest, int64_t step, int64_t total) {
  const double warmup = std::max(1.0, 0.05 * static_cast<double>(total));
  const auto now = static_cast<double>(step);
  if (now < warmup) return largest * (now + 1) / warmup;
  const double progress = (now - warmup) / std::max(1.0, static_cast<double>(total) - warmup);
  return largest * 0.5 * (1 + std::cos(M_PI * progress));
}

int64_t train_steps(Learner& learner, const StepsOptions& options, const std::function<Tensor(int64_t step)>& loss,
                    const std::function<void(const StepsReport&)>& report, Progress* progress) {
  if (!options.checkpoint.empty()) learner.resume(options.checkpoint);
  const int64_t resumed = learner.steps();
  double sum = 0;
  int64_t counted = 0;
  auto start = std::chrono::steady_clock::now();
  while (learner.steps() < options.steps) {
    if (progress) progress->check();
    const Tensor value = loss(learner.steps());
    learner.step(value, warmed_cosine(options.rate, learner.steps(), options.steps));
    sum += value.item<double>();
    ++counted;
    const int64_t done = learner.steps();
    if (progress) {
      progress->report(static_cast<double>(done), static_cast<double>(options.steps),
                       "steps, loss " + number_text(std::round(sum / static_cast<double>(counted) * 1e5) / 1e5));
    }
    if (done % options.report_every != 0 && done != options.steps) continue;
    if (!options.checkpoint.empty()) learner.save(options.checkpoint);
    const auto now = std::chrono::steady_clock::now();
    if (report) {
      report({done, sum / static_cast<double>(counted), std::chrono::duration<double>(now - start).count()});
    }
    sum = 0;
    counted = 0;
    start = now;
  }
  return resumed;
}

}  // namespace pellucid
