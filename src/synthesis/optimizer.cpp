// How the variables move. Everything is minimized.

#include <cmath>
#include <deque>

#include "pellucid/error.h"
#include "synthesis/papers.h"
#include "synthesis/part.h"

namespace pellucid {

bool same_values(const TensorList& a, const TensorList& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Tensor& x, const Tensor& y) { return at::equal(x, y); });
}

namespace {

Tensor per_picture(const Tensor& value, const Tensor& like) {
  Shape shape(static_cast<size_t>(like.dim()), 1);
  shape[0] = like.size(0);
  return value.view(shape);
}

TensorList zeros_like_all(const TensorList& variables) {
  TensorList zeros;
  for (const Tensor& v : variables) zeros.push_back(at::zeros_like(v));
  return zeros;
}
Tensor count_tensor(int64_t n) { return at::full({}, n, at::kLong); }
/// One list of several; empty before the first step.
TensorList joined_state(const std::vector<TensorList>& lists, bool untouched) {
  TensorList all;
  if (untouched) return all;
  for (const TensorList& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

struct AscentParams {
  double rate = 1;
  double rate_end = -1;
  double momentum = 0;
  double gain = 0;
  double noise = 0;
};
template <class V>
void describe(V& visit, AscentParams& p) {
  visit("rate", p.rate, between(0, 1e9), "Step size in the unit of the recipe, for the processed gradient.");
  visit("rate_end", p.rate_end, between(-1, 1e9), "At the last step of the stage, linear between; -1: the same.");
  visit("momentum", p.momentum, between(0, 0.9999), "Share of the step before that is kept.");
  visit(
      "gain", p.gain, between(0, 1e6),
      "If not 0, the rate is at most this divided by the squared gradient: what a step should raise the objective by.");
  visit("noise", p.noise, between(0, 1e9),
        "Standard deviation of normal numbers that each step adds: Langevin's dynamics.");
}
class Ascent final : public Optimizer {
 public:
  Ascent(const PartScope&, const AscentParams& p) : p_(p) {}
  void step(TensorList& variables, const LossAndGradients& here, const StepInfo& info, const LossClosure&) override {
    const double end = p_.rate_end < 0 ? p_.rate : p_.rate_end;
    const double rate = p_.rate + (end - p_.rate) * info.fraction();
    if (velocity_.empty() && p_.momentum > 0) velocity_ = zeros_like_all(variables);
    for (size_t i = 0; i < variables.size(); ++i) {
      const Tensor& g = here.gradients[i];
      Tensor move = -rate * g;
      if (p_.gain > 0) {
        const Tensor most = p_.gain / g.flatten(1).square().sum(1).clamp_min(1e-30);
        move = -g * per_picture(most.clamp_max(rate), g);
      }
      if (p_.momentum > 0) {
        velocity_[i].mul_(p_.momentum).add_(move);
        move = velocity_[i];
      }
      variables[i].add_(move);
      if (p_.noise > 0) {
        const at::Generator generator = info.generator(kNoise + i);
        variables[i].add_(drawn_normal(variables[i].sizes().vec(), generator, variables[i].options()), p_.noise);
      }
    }
  }
  TensorList state() const override { return velocity_; }
  void restore(const TensorList& state) override { velocity_ = state; }

 private:
  static constexpr uint64_t kNoise = 0x1a46;  ///< What the random numbers are for.
  AscentParams p_;
  TensorList velocity_;
};

struct AdaGradParams {
  double rate = 0;
  double memory = 0.9;
  double momentum = 0.9;
  int64_t cool = 0;
};
template <class V>
void describe(V& visit, AdaGradParams& p) {
  visit("rate", p.rate, between(0, 1e12), "Step size; 0 takes pixels * 0.05 * 80^2 / 6, for pixels in 0..255.");
  visit("memory", p.memory, between(0, 1), "Share of the sum of squares that is kept.");
  visit("momentum", p.momentum, between(0, 0.9999), "Share of the step before that is kept.");
  visit("cool", p.cool, integer_between(0, 1000000), "The last so many steps have a tenth of the rate.");
}
/// G = memory G + g^2; v = momentum v - g / (1/rate + sqrt(G)); x += v.
class AdaGrad final : public Optimizer {
 public:
  AdaGrad(const PartScope& scope, const AdaGradParams& p) : p_(p) {
    if (p_.rate == 0) p_.rate = static_cast<double>(scope.height * scope.width) * 0.05 * 80 * 80 / 6;
  }
  void step(TensorList& variables, const LossAndGradients& here, const StepInfo& info, const LossClosure&) override {
    if (sums_.empty()) {
      sums_ = zeros_like_all(variables);
      velocity_ = zeros_like_all(variables);
    }
    const int64_t switched = info.stage_steps - p_.cool;
    const double rate = info.stage_step >= switched ? p_.rate / 10 : p_.rate;
    // As in its code the momentum begins anew, the sum of squares does not.
    if (p_.cool > 0 && info.stage_step == switched) {
      for (Tensor& v : velocity_) v.zero_();
    }
    for (size_t i = 0; i < variables.size(); ++i) {
      sums_[i].mul_(p_.memory).add_(here.gradients[i].square());
      velocity_[i].mul_(p_.momentum).sub_(here.gradients[i] / (1 / rate + sums_[i].sqrt()));
      variables[i].add_(velocity_[i]);
    }
  }
  TensorList state() const override { return joined_state({sums_, velocity_}, sums_.empty()); }
  void restore(const TensorList& state) override {
    const auto half = state.begin() + static_cast<ptrdiff_t>(state.size() / 2);
    sums_.assign(state.begin(), half);
    velocity_.assign(half, state.end());
  }

 private:
  AdaGradParams p_;
  TensorList sums_, velocity_;
};

struct AdamParams {
  double rate = 0.05;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  bool nesterov = false;
};
template <class V>
void describe(V& visit, AdamParams& p) {
  visit("rate", p.rate, between(0, 1e6), "Step size.");
  visit("beta1", p.beta1, between(0, 0.99999), "Memory of the mean.");
  visit("beta2", p.beta2, between(0, 0.9999999), "Memory of the mean square.");
  visit("epsilon", p.epsilon, between(0, 1), "Added to the root of the mean square.");
  visit("nesterov", p.nesterov, Flag{}, "Nadam: look ahead by the momentum.");
}
class Adam final : public Optimizer {
 public:
  Adam(const PartScope&, const AdamParams& p) : p_(p) {}
  void step(TensorList& variables, const LossAndGradients& here, const StepInfo&, const LossClosure&) override {
    if (mean_.empty()) {
      mean_ = zeros_like_all(variables);
      square_ = zeros_like_all(variables);
    }
    ++count_;
    const double n = static_cast<double>(count_);
    const double scale = 1 - std::pow(p_.beta1, n), root = std::sqrt(1 - std::pow(p_.beta2, n));
    for (size_t i = 0; i < variables.size(); ++i) {
      const Tensor& g = here.gradients[i];
      mean_[i].mul_(p_.beta1).add_(g, 1 - p_.beta1);
      square_[i].mul_(p_.beta2).addcmul_(g, g, 1 - p_.beta2);
      Tensor move = mean_[i];
      // Nesterov's momentum: the gradient of this step counts as if it were already in the mean of the next.
      if (p_.nesterov) {
        move = mean_[i] * (p_.beta1 * scale / (1 - std::pow(p_.beta1, n + 1))) + g * (1 - p_.beta1);
      }
      variables[i].addcdiv_(move, square_[i].sqrt().div_(root).add_(p_.epsilon), -p_.rate / scale);
    }
  }
  TensorList state() const override { return joined_state({mean_, square_, {count_tensor(count_)}}, mean_.empty()); }
  void restore(const TensorList& state) override {
    if (state.empty()) return;
    const size_t n = state.size() / 2;
    mean_.assign(state.begin(), state.begin() + static_cast<ptrdiff_t>(n));
    square_.assign(state.begin() + static_cast<ptrdiff_t>(n), state.begin() + static_cast<ptrdiff_t>(2 * n));
    count_ = state.back().item<int64_t>();
  }

 private:
  AdamParams p_;
  TensorList mean_, square_;
  int64_t count_ = 0;
};

struct LbfgsParams {
  int64_t history = 100;
  double rate = 1;
};
template <class V>
void describe(V& visit, LbfgsParams& p) {
  visit("history", p.history, integer_between(1, 1000), "Steps that the curvature is estimated from.");
  visit("rate", p.rate, between(1e-9, 1e6), "Length of the very first step tried, in the unit of the recipe.");
}

double dot(const TensorList& a, const TensorList& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] * b[i]).sum(at::kDouble).item<double>();
  return sum;
}
TensorList moved(const TensorList& from, const TensorList& direction, double length) {
  TensorList to;
  for (size_t i = 0; i < from.size(); ++i) to.push_back(from[i] + length * direction[i]);
  return to;
}

/// The minimum of the cubic that has values fa, fb and slopes ga, gb at a and b; the middle where it has none between.
double cubic_minimum(double a, double fa, double ga, double b, double fb, double gb) {
  const double d1 = ga + gb - 3 * (fa - fb) / (a - b);
  const double square = d1 * d1 - ga * gb;
  const double low = std::min(a, b), high = std::max(a, b), margin = 0.1 * (high - low);
  if (square < 0) return (low + high) / 2;
  const double d2 = (b > a ? 1 : -1) * std::sqrt(square);
  const double at = b - (b - a) * (gb + d2 - d1) / (gb - ga + 2 * d2);
  return std::isfinite(at) ? std::min(std::max(at, low + margin), high - margin) : (low + high) / 2;
}

/// A point on the line that is searched.
struct Trial {
  double length = 0, slope = 0;
  LossAndGradients at;
};

/// Nocedal, Wright. "Numerical Optimization". 2nd edition, 2006, algorithms 3.5, 3.6 and 7.4. Within bounds by
/// projection: variables at a bound that their gradient pushes against rest, the others move by the inverse Hessian of
/// theirs alone, and what the line search would move beyond a bound stays on it. Bertsekas. "Projected Newton Methods
/// for Optimization Problems with Simple Constraints". SIAM J. Control and Optimization, 1982.
class Lbfgs final : public Optimizer {
 public:
  Lbfgs(const PartScope&, const LbfgsParams& p) : p_(p) {}
  bool looks_ahead() const override { return true; }
  void keep_within(Bounds bounds) override { bounds_ = std::move(bounds); }

  void step(TensorList& variables, const LossAndGradients& here, const StepInfo&, const LossClosure& closure) override {
    if (at_rest_ && same_values(here.gradients, last_gradients_)) return;
    remember(variables, here.gradients);
    TensorList direction = descent(variables, here.gradients);
    Trial start{0, dot(here.gradients, direction), here};
    if (!(start.slope < 0)) {
      // What is remembered no longer fits the function.
      forget();
      direction = descent(variables, here.gradients);
      start.slope = dot(here.gradients, direction);
    }
    // What rounding hides cannot be searched for.
    const double noise = (variables.front().scalar_type() == at::kDouble ? 1e-15 : 1e-7) * std::abs(here.loss);
    if (!(-start.slope > noise)) return;
    const Trial found = search(start, noise, [&](double length) {
      const TensorList there = kept(moved(variables, direction, length));
      Trial t{length, 0, closure(there)};
      t.slope = dot(t.at.gradients, without(outward(there, direction), direction));
      return t;
    });
    at_rest_ = found.length == 0 && moves_.empty();
    if (found.length == 0) forget();
    const TensorList to = kept(moved(variables, direction, found.length));
    for (size_t i = 0; i < variables.size(); ++i) variables[i].copy_(to[i]);
  }
  /// Lists of one length each: the last point and its gradient, then moves and changes, oldest first.
  TensorList state() const override {
    std::vector<TensorList> lists{last_variables_, last_gradients_};
    for (size_t k = 0; k < moves_.size(); ++k) {
      lists.push_back(moves_[k]);
      lists.push_back(changes_[k]);
    }
    return joined_state({joined_state(lists, false), {count_tensor(static_cast<int64_t>(last_variables_.size()))}},
                        last_variables_.empty());
  }
  void restore(const TensorList& state) override {
    forget();
    if (state.empty()) return;
    const auto n = static_cast<size_t>(state.back().item<int64_t>());
    const auto list = [&](size_t k) {
      return TensorList(state.begin() + static_cast<ptrdiff_t>(k * n),
                        state.begin() + static_cast<ptrdiff_t>((k + 1) * n));
    };
    last_variables_ = list(0);
    last_gradients_ = list(1);
    for (size_t k = 2; (k + 2) * n < state.size(); k += 2) {
      moves_.push_back(list(k));
      changes_.push_back(list(k + 1));
    }
  }

 private:
  void forget() {
    moves_.clear();
    changes_.clear();
  }

  static bool curved(double size, const TensorList& change) { return size > 1e-10 * dot(change, change); }

  void remember(const TensorList& variables, const TensorList& gradients) {
    if (!last_variables_.empty()) {
      const TensorList move = moved(variables, last_variables_, -1), change = moved(gradients, last_gradients_, -1);
      if (curved(dot(move, change), change)) {
        moves_.push_back(move);
        changes_.push_back(change);
        if (static_cast<int64_t>(moves_.size()) > p_.history) {
          moves_.pop_front();
          changes_.pop_front();
        }
      }
    }
    last_variables_.clear();
    for (const Tensor& v : variables) last_variables_.push_back(v.clone());
    last_gradients_ = gradients;
  }

  TensorList kept(TensorList variables) const {
    for (size_t i = 0; i < bounds_.low.size(); ++i) {
      variables[i] = at::minimum(at::maximum(variables[i], bounds_.low[i]), bounds_.high[i]);
    }
    return variables;
  }
  /// Which variables at a bound a move along `direction` would take beyond it; empty without bounds.
  TensorList outward(const TensorList& variables, const TensorList& direction) const {
    TensorList masks;
    for (size_t i = 0; i < bounds_.low.size(); ++i) {
      const Tensor below = (variables[i] <= bounds_.low[i]).logical_and(direction[i] < 0);
      masks.push_back(below.logical_or((variables[i] >= bounds_.high[i]).logical_and(direction[i] > 0)));
    }
    return masks;
  }
  static TensorList without(const TensorList& masks, TensorList values) {
    for (size_t i = 0; i < masks.size(); ++i) values[i] = values[i].masked_fill(masks[i], 0);
    return values;
  }

  /// Minus the inverse Hessian, as far as it is known, times the gradient, both of the variables that may move. Where
  /// nothing is known, a step of the first length along the gradient.
  TensorList descent(const TensorList& variables, const TensorList& gradients) const {
    TensorList q = moved(gradients, gradients, -2);
    const TensorList resting = outward(variables, q);
    q = without(resting, q);
    struct Pair {
      TensorList move, change;
      double size = 0, alpha = 0;
    };
    std::vector<Pair> pairs;
    for (size_t k = 0; k < moves_.size(); ++k) {
      Pair pair{without(resting, moves_[k]), without(resting, changes_[k])};
      pair.size = dot(pair.move, pair.change);
      if (curved(pair.size, pair.change)) pairs.push_back(std::move(pair));
    }
    if (pairs.empty()) return moved(q, q, p_.rate / std::max(std::sqrt(dot(q, q)), 1e-300) - 1);
    for (size_t k = pairs.size(); k-- > 0;) {
      pairs[k].alpha = dot(pairs[k].move, q) / pairs[k].size;
      q = moved(q, pairs[k].change, -pairs[k].alpha);
    }
    const double scale = pairs.back().size / dot(pairs.back().change, pairs.back().change);
    for (Tensor& t : q) t = t * scale;
    for (const Pair& pair : pairs) q = moved(q, pair.move, pair.alpha - dot(pair.change, q) / pair.size);
    return without(outward(variables, q), q);
  }

  /// A length that meets the strong Wolfe conditions, or the lowest point that was seen.
  static Trial search(const Trial& start, double noise, const std::function<Trial(double)>& at) {
    constexpr double kDecrease = 1e-4, kCurvature = 0.9;
    constexpr int kMost = 20;
    const auto too_high = [&](const Trial& t) {
      return !std::isfinite(t.at.loss) || t.at.loss > start.at.loss + kDecrease * t.length * start.slope;
    };
    const auto flat = [&](const Trial& t) { return std::abs(t.slope) <= -kCurvature * start.slope; };
    Trial low = start, high;
    bool bracketed = false;
    double length = 1;
    for (int i = 0; i < kMost; ++i) {
      if (bracketed && std::abs(high.length - low.length) * -start.slope <= noise) break;
      Trial t = at(length);
      if (too_high(t) || (low.length > 0 && !bracketed && t.at.loss >= low.at.loss) ||
          (bracketed && t.at.loss >= low.at.loss)) {
        high = std::move(t);
        bracketed = true;
      } else {
        if (flat(t)) return t;
        if (bracketed ? t.slope * (high.length - low.length) >= 0 : t.slope >= 0) {
          high = std::move(low);
          bracketed = true;
        }
        low = std::move(t);
      }
      if (!bracketed) {
        length *= 2;
      } else if (!std::isfinite(high.at.loss)) {
        length = (low.length + high.length) / 2;
      } else {
        length = cubic_minimum(low.length, low.at.loss, low.slope, high.length, high.at.loss, high.slope);
      }
    }
    return low;
  }

  LbfgsParams p_;
  Bounds bounds_;
  std::deque<TensorList> moves_, changes_;
  TensorList last_variables_, last_gradients_;
  bool at_rest_ = false;  ///< Not even along the gradient was anything lower found.
};

}  // namespace

std::vector<PartEntry<Optimizer>> gradient_optimizers() {
  return {part_entry<Optimizer, Adam, AdamParams>("adam", "Adam.", kKingma2015),
          part_entry<Optimizer, Ascent, AscentParams>("ascent", "Steps along the processed gradient, with momentum."),
          part_entry<Optimizer, AdaGrad, AdaGradParams>("adagrad", "AdaGrad with a fading memory and momentum.",
                                                        kMahendran2016),
          part_entry<Optimizer, Lbfgs, LbfgsParams>("lbfgs", "Limited-memory BFGS with a strong Wolfe line search.",
                                                    kLiu1989)};
}

}  // namespace pellucid
