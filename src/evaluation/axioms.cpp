#include "pellucid/axioms.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <set>

#include "attribution/baseline.h"
#include "attribution/method.h"
#include "evaluation/metric.h"
#include "evaluation/rebound.h"
#include "graph/rewrites.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

const std::vector<Axiom>& axioms() {
  static const std::vector<Axiom> table{
      {"completeness", "Completeness", "The attributions sum to the score of the input less that of the baseline.",
       "Sums the signed values. At a layer, the baseline is the layer set to zero."},
      {"sensitivity-a", "Sensitivity (a)",
       "If input and baseline differ in one feature and in their scores, that feature is attributed something.",
       "Explains the baseline with one region taken from the picture; then the same for the model with its scores "
       "capped "
       "halfway between those of baseline and picture, which is a function like any other."},
      {"sensitivity-b", "Sensitivity (b), dummy", "An input that the score does not depend on is attributed nothing.",
       "Grafts a border onto the input that the graph cuts away, and looks at the map there."},
      {"implementation-invariance", "Implementation invariance",
       "Two networks that compute the same function are explained alike.",
       "Rewrites the graph exactly (normalization unfolded and folded, convolutions split, channels reordered and "
       "rescaled, the input as a difference of two rectifiers), checks that the scores agree, and compares the maps."},
      {"symmetry", "Symmetry", "Inputs that the function treats alike, with equal values, are attributed alike.",
       "Explains the mean of the model and the model with two pixels exchanged, on a picture where they are equal."},
      {"linearity", "Linearity", "A weighted sum of two scores is attributed the weighted sum of their attributions.",
       "Adds a class 0.75 S_t - 0.5 S_u to the model and compares its map with those of t and u."},
      {"input-invariance", "Input invariance",
       "A constant added to the input and taken off again by the model changes nothing.",
       "Grafts a subtraction in front of the model and shifts the picture by as much."}};
  return table;
}

const char* verdict_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::kHolds:
      return "holds";
    case Verdict::kFails:
      return "fails";
    case Verdict::kDoesNotApply:
      break;
  }
  return "does not apply";
}

namespace {

/// Six digits are enough to see a difference.
std::string short_number(double v) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.6g", v);
  return buffer;
}

/// Collects cases; the worst one decides.
class Finding {
 public:
  Finding(std::string axiom, double tolerance) {
    report_.axiom = std::move(axiom);
    report_.tolerance = tolerance;
  }
  void add(double measured, const std::string& description) {
    if (report_.tried++ > 0 && !(measured > report_.measured)) return;
    report_.measured = measured;
    report_.finding = description;
  }
  /// A case that could not be tried, and why.
  void skip(const std::string& why) { skipped_ = why; }
  AxiomReport report() {
    if (report_.tried == 0) {
      report_.verdict = Verdict::kDoesNotApply;
      report_.finding = skipped_.empty() ? "nothing could be tried" : skipped_;
    } else {
      report_.verdict = report_.measured <= report_.tolerance ? Verdict::kHolds : Verdict::kFails;
    }
    return report_;
  }

 private:
  AxiomReport report_;
  std::string skipped_;
};

Tensor flat64(const Tensor& t) { return t.to(at::kCPU, at::kDouble).flatten(); }

struct Deviation {
  double relative = 0;  ///< Largest difference over the largest magnitude of either.
  int64_t index = 0;
  double first = 0, second = 0;
};
Deviation deviation(const Tensor& a, const Tensor& b) {
  const Tensor x = flat64(a), y = flat64(b);
  const double scale = std::max(x.abs().max().item<double>(), y.abs().max().item<double>());
  if (scale == 0) return {};
  const Tensor error = (x - y).abs();
  const int64_t at = error.argmax().item<int64_t>();
  return {error[at].item<double>() / scale, at, x[at].item<double>(), y[at].item<double>()};
}

std::string pixel_text(int64_t flat, int64_t width) {
  return "pixel (" + std::to_string(flat / width) + "," + std::to_string(flat % width) + ")";
}

/// Everything about one method on one picture.
class Trial {
 public:
  Trial(const MethodCall& call, const Context& one, int64_t image, const AxiomOptions& options)
      : call_(call), one_(one), image_(image), options_(options) {
    const ParamMap all = call.method->complete(call.params);
    const auto found = all.find("baseline");
    has_baseline_ = found != all.end();
    baseline_ = has_baseline_ ? found->second : "zero";
    std::tie(height_, width_) = input_size(one);
    tolerance_ = options.tolerance > 0 ? options.tolerance : one.network.dtype() == at::kDouble ? 1e-6 : 1e-3;
  }

  double tolerance() const { return tolerance_; }

  void completeness(Finding& finding) const {
    const Attribution a = explain(one_);
    const std::optional<OwnBalance> own = a.diagnostics.empty() ? std::nullopt : own_balance(a.diagnostics.front());
    if (!own && needs_own_balance(*call_.method)) {
      return finding.skip(call_.method->id + " does not say what its values add up to");
    }
    const double sum = own ? own->sum : a.values.to(at::kCPU, at::kDouble).sum().item<double>();
    const double difference = own ? own->difference : score(one_, one_.input) - baseline_score(a);
    const double gap = std::abs(sum - difference);
    std::string what = picture() + ": attributions sum to " + short_number(sum) + ", scores differ by " +
                       short_number(difference) + " from " + (own ? "the method's own reference" : baseline_name(a));
    // The gap of a method on a path is that of its quadrature.
    const ParamMap full = call_.method->complete(call_.params);
    if (const auto steps = full.find("steps"); steps != full.end()) what += ", in " + steps->second + " steps";
    finding.add(difference == 0 ? gap : gap / std::abs(difference), what);
  }

  /// `measured` is 1 for a feature that gets nothing although it matters.
  void sensitivity_a(Finding& finding) const {
    if (!at_input()) return finding.skip("the map belongs to a layer: a region of the input is no feature of it");
    if (depends_on_picture(baseline_)) {
      return finding.skip("the baseline " + baseline_ + " is made from the picture: it changes with the feature");
    }
    const Tensor start = baselines(one_, call_.method->id, baseline_).front();
    one_feature_each(finding, one_, start, "");
    // A cap on the scores makes any model saturate: the place to look for features that get lost.
    const double low = score(one_, start), high = score(one_, one_.input);
    const std::optional<std::string> target = class_target(nullptr);
    if (!target || !(high > low)) return;
    const double cap = (low + high) / 2;
    const Network network(with_capped_scores(one_.network.graph(), one_.target.value(), cap), one_.network.options());
    const Rebound other(without_layers(), network, one_.input, *target);
    whole_picture(finding, other.context(), start, cap);
  }

  void sensitivity_b(Finding& finding) const {
    const std::optional<std::string> target = class_target(&finding);
    if (!target) return;
    const int64_t d = options_.border;
    const Network network(with_ignored_border(one_.network.graph(), d, one_.card.channels_first),
                          one_.network.options());
    // The border shows something, or it could not be seen.
    const Tensor planes = to_planes(one_, one_.input);
    const Tensor padded = at::replication_pad2d(planes, {d, d, d, d});
    Context wide = one_;
    wide.regions = Tensor();
    const Rebound other(wide, network, from_planes(one_, padded).contiguous(), *target);
    Context c = other.context();
    c.background = Tensor();
    const Tensor map = explain(c).map[0].to(at::kCPU, at::kDouble);
    const double largest = map.abs().max().item<double>();
    Tensor border = map.abs().clone();
    border.narrow(0, d, height_).narrow(1, d, width_).zero_();
    const int64_t at = border.argmax().item<int64_t>();
    const double leaked = border.flatten()[at].item<double>();
    finding.add(largest > 0 ? leaked / largest : 0,
                picture() + ": " + pixel_text(at, width_ + 2 * d) + " of a border that the network cuts away gets " +
                    short_number(leaked) + "; the largest magnitude is " + short_number(largest));
  }

  void implementation_invariance(Finding& finding) const {
    const std::optional<std::string> target = class_target(&finding);
    if (!target) return;
    const Tensor before = explain(one_).map[0];
    for (const Rewrite& rewrite : exact_rewrites(one_.network.graph(), one_.seed)) {
      attempt(finding, [&] {
        const Network network(rewrite.graph, one_.network.options());
        const Rebound other(one_, network, one_.input, *target);
        const double here = score(one_, one_.input), there = score(other.context(), one_.input);
        // In proportion to what a sum of many terms can round to.
        if (std::abs(here - there) > tolerance_ * std::max(1.0, std::abs(here))) {
          return finding.skip(rewrite.name + ": the rewritten graph scores " + short_number(there) + " instead of " +
                              short_number(here));
        }
        const Deviation d = deviation(before, explain(other.context()).map[0]);
        finding.add(d.relative, picture() + ", " + rewrite.name + " (" + std::to_string(rewrite.changed) +
                                    " places; scores " + short_number(here) + " and " + short_number(there) +
                                    "): " + pixel_text(d.index, width_) + " gets " + short_number(d.first) + " and " +
                                    short_number(d.second));
      });
    }
  }

  void symmetry(Finding& finding) const {
    const std::optional<std::string> target = class_target(&finding);
    if (!target) return;
    if (!at_input()) return finding.skip("the map belongs to a layer, which the symmetric model has twice");
    if (height_ * width_ < 2) return finding.skip("the picture has one pixel only");
    at::Generator generator = at::detail::createCPUGenerator(one_.seed);
    for (int64_t k = 0; k < options_.pairs; ++k) {
      const Tensor pair = at::randperm(height_ * width_, generator, at::TensorOptions(at::kLong));
      const int64_t i = pair[0].item<int64_t>(), j = pair[1].item<int64_t>();
      attempt(finding, [&] {
        Tensor planes = to_planes(one_, one_.input).clone();
        const Network network(symmetrized(one_.network.graph(), one_.target.value(), i, j, height_, width_,
                                          planes.size(1), one_.card.channels_first),
                              one_.network.options());
        Tensor flat = planes.view({planes.size(0), planes.size(1), -1});
        flat.select(2, i).copy_(flat.select(2, j).clone());
        const Rebound other(without_layers(), network, from_planes(one_, planes).contiguous(), *target);
        const Tensor map = flat64(explain(other.context()).map[0]);
        const double a = map[i].item<double>(), b = map[j].item<double>();
        const double largest = map.abs().max().item<double>();
        finding.add(largest > 0 ? std::abs(a - b) / largest : 0, picture() + ": " + pixel_text(i, width_) + " gets " +
                                                                     short_number(a) + " and " + pixel_text(j, width_) +
                                                                     ", its equal, " + short_number(b));
      });
    }
  }

  void linearity(Finding& finding) const {
    const std::optional<std::string> target = class_target(&finding);
    if (!target) return;
    const int64_t classes = num_classes(), t = one_.target.class_index(0), u = t == 0 ? classes - 1 : 0;
    if (classes < 2) return finding.skip("the network has one score only");
    constexpr double kA = 0.75, kB = -0.5;
    const Network network(with_combined_class(one_.network.graph(), one_.target.value(), classes, t, u, kA, kB),
                          one_.network.options());
    const auto map_of = [&](int64_t k) {
      const Rebound other(one_, network, one_.input, std::to_string(k));
      return explain(other.context()).map[0].to(at::kCPU, at::kDouble);
    };
    const Tensor sum = map_of(t) * kA + map_of(u) * kB;
    const Deviation d = deviation(map_of(classes), sum);
    finding.add(d.relative, picture() + ", 0.75 S_" + std::to_string(t) + " - 0.5 S_" + std::to_string(u) + ": " +
                                pixel_text(d.index, width_) + " gets " + short_number(d.first) +
                                " where the two maps give " + short_number(d.second));
  }

  void input_invariance(Finding& finding) const {
    const std::optional<std::string> target = class_target(&finding);
    if (!target) return;
    // A shift of a picture's own size, different for each channel.
    const Tensor planes = to_planes(one_, one_.input);
    const double range = std::max(1e-3, (planes.max() - planes.min()).item<double>());
    const Tensor shift = (at::arange(1, planes.size(1) + 1, planes.options()) * range).view({1, planes.size(1), 1, 1});
    const Tensor placed = from_planes(one_, shift);
    const Network network(with_shifted_input(one_.network.graph(), placed), one_.network.options());
    const Rebound other(one_, network, one_.input + placed, *target);
    const Deviation d = deviation(explain(one_).map[0], explain(other.context()).map[0]);
    finding.add(d.relative, picture() + ", every value raised by " + short_number(range) +
                                " or more: " + pixel_text(d.index, width_) + " gets " + short_number(d.first) +
                                " before and " + short_number(d.second) + " after");
  }

  /// Runs `work`; what it cannot do on this graph is a reason, not a failure.
  static void attempt(Finding& finding, const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kUsage && error.kind() != ErrorKind::kUnsupported) throw;
      finding.skip(error.what());
    }
  }

 private:
  Attribution explain(const Context& context) const { return attribute(call_, context); }

  bool at_input() const { return (call_.method->needs & kNeedsLayer) == 0; }

  Context without_layers() const {
    Context c = one_;
    c.cam_layers.clear();
    return c;
  }

  std::string picture() const {
    const auto i = static_cast<size_t>(image_);
    return "picture " + (i < options_.pictures.size() ? options_.pictures[i] : std::to_string(image_));
  }

  static double score(const Context& c, const Tensor& input) {
    return scores(c, input, {0}).to(at::kCPU, at::kDouble)[0].item<double>();
  }

  /// Score of the baseline; for values at a layer, with that layer set to zero.
  double baseline_score(const Attribution& a) const {
    if (a.layers.size() == 1 && a.values.dim() == 3) {
      Request request;
      request.capture = {one_.target.value()};
      request.edit[a.layers.front()] = [](const Tensor& t) { return at::zeros_like(t); };
      const Tensor value = one_.network.run({one_.input}, request).at(one_.target.value());
      return one_.target.score(value).to(at::kCPU, at::kDouble)[0].item<double>();
    }
    double sum = 0;
    const std::vector<Tensor> starts = baselines(one_, call_.method->id, baseline_);
    for (const Tensor& b : starts) sum += score(one_, b) / static_cast<double>(starts.size());
    return sum;
  }
  std::string baseline_name(const Attribution& a) const {
    if (a.layers.size() == 1 && a.values.dim() == 3) return "those with the layer set to zero";
    return "those of the baseline " + baseline_;
  }

  static bool depends_on_picture(const std::string& baseline) {
    return baseline.find('+') != std::string::npos || baseline.rfind("mean", 0) == 0 || baseline.rfind("blur", 0) == 0;
  }

  std::optional<std::string> class_target(Finding* finding) const {
    const int64_t index = one_.target.class_index(0);
    if (index >= 0 && !one_.target.is_dense() && one_.target.names_one_class()) {
      return std::to_string(index);
    }
    if (finding) finding->skip("the target is not one class of a classifier");
    return std::nullopt;
  }

  int64_t num_classes() const {
    return c10::multiply_integers(one_.layers.shape(one_.target.value())) /
           std::max<int64_t>(1, one_.layers.shape(one_.target.value()).at(0));
  }

  /// Regions to try: single pixels and cells of grids, drawn from the seed.
  Tensor region(int64_t k, at::Generator& generator) const {
    const auto draw = [&](int64_t n) {
      return at::randint(n, {1}, generator, at::TensorOptions(at::kLong)).item<int64_t>();
    };
    // Half single pixels, half squares of an eighth of the side and more.
    const int64_t shorter = std::min(height_, width_);
    const int64_t side = k % 2 == 0 ? 1 : std::max<int64_t>(1, shorter / (k % 4 == 1 ? 8 : 3));
    Tensor mask = at::zeros({height_, width_}, at::kBool);
    mask.narrow(0, draw(height_ - side + 1), side).narrow(1, draw(width_ - side + 1), side).fill_(true);
    return mask;
  }

  void one_feature_each(Finding& finding, const Context& c, const Tensor& start, const std::string& where) const {
    at::Generator generator = at::detail::createCPUGenerator(c.seed);
    const double at_start = score(c, start);
    const bool small = height_ * width_ <= options_.features;
    const int64_t count = small ? height_ * width_ : options_.features;
    for (int64_t k = 0; k < count; ++k) {
      Tensor mask = region(k, generator);
      if (small) mask = at::arange(height_ * width_, at::kLong).eq(k).view({height_, width_});
      const Tensor placed = mask.to(start.device()).unsqueeze(0).unsqueeze(c.card.channels_first ? 1 : 3);
      Context changed = c;
      changed.input = at::where(placed, c.input, start);
      const double difference = score(c, changed.input) - at_start;
      if (std::abs(difference) <= tolerance_ * std::max(1.0, std::abs(at_start))) continue;
      const Tensor map = explain(changed).map[0].to(at::kCPU, at::kDouble).abs();
      const double given = map.masked_select(mask).max().item<double>(), largest = map.max().item<double>();
      const bool lost = !(given > 1e-9 * largest);
      const int64_t pixels = mask.sum().item<int64_t>();
      const int64_t first = mask.flatten().to(at::kByte).argmax().item<int64_t>();
      finding.add(lost ? 1 : 0, picture() + where + ": " + std::to_string(pixels) +
                                    (pixels == 1 ? " feature at " : " pixels from ") + pixel_text(first, width_) +
                                    " alone differ" + (pixels == 1 ? "s" : "") + " from the baseline " + baseline_ +
                                    (pixels == 1 ? " and changes" : " and change") + " the score by " +
                                    short_number(difference) + "; attributed: " + short_number(given));
    }
  }

  /// The whole picture as one feature of a model with capped scores.
  void whole_picture(Finding& finding, const Context& c, const Tensor& start, double cap) const {
    attempt(finding, [&] {
      const double difference = score(c, c.input) - score(c, start);
      if (std::abs(difference) <= tolerance_ * std::max(1.0, std::abs(cap))) return;
      const double largest = explain(c).map.abs().max().item<double>();
      finding.add(largest > 0 ? 0 : 1, picture() + ", scores capped at " + short_number(cap) +
                                           ": the picture differs from the baseline " + baseline_ +
                                           " and changes the score by " + short_number(difference) +
                                           "; the largest magnitude attributed is " + short_number(largest));
    });
  }

  const MethodCall& call_;
  const Context& one_;
  int64_t image_;
  const AxiomOptions& options_;
  bool has_baseline_ = false;
  std::string baseline_;
  int64_t height_ = 0, width_ = 0;
  double tolerance_ = 0;
};

void check(const std::string& id, const Trial& trial, Finding& finding) {
  if (id == "completeness") trial.completeness(finding);
  if (id == "sensitivity-a") trial.sensitivity_a(finding);
  if (id == "sensitivity-b") trial.sensitivity_b(finding);
  if (id == "implementation-invariance") trial.implementation_invariance(finding);
  if (id == "symmetry") trial.symmetry(finding);
  if (id == "linearity") trial.linearity(finding);
  if (id == "input-invariance") trial.input_invariance(finding);
}

}  // namespace

std::vector<AxiomReport> check_axioms(const MethodCall& method, const Context& context, const AxiomOptions& options) {
  std::vector<std::string> ids;
  for (const Axiom& axiom : axioms()) ids.push_back(axiom.id);
  for (const std::string& id : options.only) {
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) {
      throw_usage("no axiom '" + printable(id) + "'" + did_you_mean(id, ids) + " (there are: " + join(ids, ", ") + ")");
    }
  }
  if (!options.only.empty()) ids = options.only;
  const int64_t images = num_images(context);
  std::vector<AxiomReport> reports;
  double done = 0;
  for (const std::string& id : ids) {
    std::optional<Finding> finding;
    for (int64_t i = 0; i < images; ++i) {
      const Context one = picture_of(context, i);
      const Trial trial(method, one, i, options);
      if (!finding) finding.emplace(id, id == "completeness" ? options.completeness_tolerance : trial.tolerance());
      Trial::attempt(*finding, [&] { check(id, trial, *finding); });
      if (context.progress) {
        context.progress->report(++done, static_cast<double>(ids.size()) * static_cast<double>(images), "axioms tried");
      }
    }
    reports.push_back(finding->report());
  }
  return reports;
}

}  // namespace pellucid
