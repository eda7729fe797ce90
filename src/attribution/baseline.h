#pragma once

#include <string>
#include <vector>

#include "pellucid/attribution.h"

namespace pellucid {

/// Where path and difference methods start from, [N,C,H,W] in the model domain. `name` is one of
///   black, white, gray   a display color
///   value:LEVEL          a shade of gray between 0 (black) and 1 (white)
///   zero                 zero in the model domain, often the data set's mean color
///   mean                 the mean color of each picture
///   blur, blur:SIGMA     the picture blurred by a Gaussian, sigma in pixels (default a twentieth of the longer side)
///   noise, noise:SEED    uniform noise in display range (default the run's own seed)
/// or several joined by '+', which are averaged over by the caller.
std::vector<Tensor> baselines(const Context& context, const std::string& owner, const std::string& name);

enum class Border {
  kReflect,  ///< The picture continues as its mirror image; the border pixel is not repeated.
  kZero      ///< Nothing beyond the border.
};
/// Separable Gaussian, cut off at four sigma. [N,C,H,W], sigma in pixels; 0 returns the picture.
Tensor gaussian_blur(const Tensor& planes, double sigma, Border border = Border::kReflect);

/// What a baseline parameter accepts, for help and errors.
extern const char* const kBaselineAccepts;

}  // namespace pellucid
