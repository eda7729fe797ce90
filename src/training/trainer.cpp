#include <chrono>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/learner.h"
#include "pellucid/text.h"
#include "pellucid/training.h"

namespace pellucid {

namespace {

const char* const kEpochKey = "pellucid.epochs_done";

LearnerOptions learner_options(const TrainingOptions& options) {
  LearnerOptions learner;
  learner.momentum = options.momentum;
  learner.weight_decay = options.weight_decay;
  return learner;
}

}  // namespace

struct Trainer::Impl {
  Impl(Graph graph, const TrainingOptions& o) : learner(std::move(graph), learner_options(o)), options(o) {}

  Learner learner;
  TrainingOptions options;
  int64_t epochs_done = 0;
};

Trainer::Trainer(Graph graph, TrainingOptions options) : impl_(std::make_unique<Impl>(std::move(graph), options)) {}
Trainer::~Trainer() = default;

int64_t Trainer::epochs_done() const { return impl_->epochs_done; }

Trainer::EpochReport Trainer::train_epoch(const BatchSource& batches, int64_t steps_per_epoch, Progress* progress) {
  const auto start = std::chrono::steady_clock::now();
  Impl& t = *impl_;
  const Network& network = t.learner.network();
  const ValueId logits = network.graph().outputs().front();
  double loss_sum = 0, correct = 0, seen = 0;
  for (int64_t step = 0; step < steps_per_epoch; ++step) {
    if (progress) progress->check();
    const TrainingBatch batch = batches(t.epochs_done, step);
    const Tensor scores = t.learner.forward({batch.input.to(network.dtype())}, {logits}).at(logits);
    const Tensor loss = at::cross_entropy_loss(scores, batch.labels);
    const double loss_now = loss.item<double>();
    if (!std::isfinite(loss_now)) {
      throw_failed("training: the loss is not finite in epoch " + std::to_string(t.epochs_done + 1) + ", step " +
                   std::to_string(step + 1) + "; a smaller --learning-rate may help");
    }
    t.learner.step(loss, warmed_cosine(t.options.learning_rate, t.epochs_done * steps_per_epoch + step,
                                       t.options.epochs * steps_per_epoch));
    loss_sum += loss_now;
    correct += scores.argmax(1).eq(batch.labels).sum().item<double>();
    seen += static_cast<double>(batch.labels.size(0));
    if (progress) {
      progress->report(
          static_cast<double>(step + 1), static_cast<double>(steps_per_epoch),
          "epoch " + std::to_string(t.epochs_done + 1) + ", loss " + number_text(std::round(loss_now * 1000) / 1000));
    }
  }
  ++t.epochs_done;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return {t.epochs_done, loss_sum / static_cast<double>(steps_per_epoch), correct / seen, seconds};
}

Graph Trainer::graph() const { return impl_->learner.graph(); }

void Trainer::save(const std::string& path) const {
  impl_->learner.save(path, {{kEpochKey, std::to_string(impl_->epochs_done)}});
}

bool Trainer::resume(const std::string& path) {
  const std::map<std::string, std::string> metadata = impl_->learner.resume(path);
  if (metadata.empty()) return false;
  const auto epochs = metadata.find(kEpochKey);
  int64_t done = 0;
  if (epochs == metadata.end() || !parse_int(epochs->second, done) || done < 0) {
    throw_invalid(path + ": not a checkpoint of a classifier's training");
  }
  impl_->epochs_done = done;
  return true;
}

double accuracy(const Network& network, const BatchSource& batches, int64_t num_batches) {
  const at::NoGradGuard no_grad;
  double correct = 0, seen = 0;
  for (int64_t i = 0; i < num_batches; ++i) {
    const TrainingBatch batch = batches(0, i);
    correct +=
        network.run(batch.input.to(network.dtype()))[0].argmax(1).to(at::kCPU).eq(batch.labels).sum().item<double>();
    seen += static_cast<double>(batch.labels.size(0));
  }
  return seen > 0 ? correct / seen : 0;
}

}  // namespace pellucid
