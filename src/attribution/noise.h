#pragma once

// Averages over noisy copies of the pictures: one stream of noise and one way to average for all methods.

#include "attribution/method.h"

namespace pellucid {

struct NoiseParams {
  int64_t samples = 50;
  double noise = 0.15;
};

template <class V>
void describe(V& visit, NoiseParams& p) {
  visit("samples", p.samples, integer_between(1, 100000), "Noisy copies per picture.");
  visit("noise", p.noise, between(0, 10), "Standard deviation of the noise as a share of the picture's value range.");
}

/// Standard normal noise of one image's shape, sample after sample, from the context's seed or what was injected. Every
/// image gets the same noise (a stream of its own for each), so that a batch equals its images one by one. The first k
/// samples are the same however many are drawn and in whatever portions.
class NoiseStream {
 public:
  /// Throws Error(kUsage) when injected noise has another shape than [n >= count, shape of one image].
  NoiseStream(const Context& context, int64_t count);
  /// The next n samples [n, ...shape of one image], like the context's input.
  Tensor draw(int64_t n);

 private:
  Tensor injected_;
  Shape image_;
  at::TensorOptions options_;
  at::Generator generator_;
  Tensor rest_;  ///< Drawn but not yet given out.
  int64_t given_ = 0;
};

/// `fraction` of each image's value range, [N]; 0 for a constant image.
Tensor noise_scale(const Context& context, double fraction);

/// Mean and population variance of a stream by Welford's update, which does not cancel as E[x^2] - E[x]^2 does.
class RunningMoments {
 public:
  void add(const Tensor& value);
  const Tensor& mean() const { return mean_; }  ///< float64 on the CPU
  Tensor variance() const { return squares_ / static_cast<double>(count_); }
  /// E[x^2], exactly mean^2 + variance.
  Tensor second_moment() const { return mean_.square() + variance(); }

 private:
  Tensor mean_, squares_;
  int64_t count_ = 0;
};

/// A method averaged over noisy copies of the pictures; its id is "smooth(METHOD)" with the parameters of `inner`.
Method smooth_method(const MethodCall& inner);

}  // namespace pellucid
