#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pellucid {

/// Nodes and weights on [0,1]; the weights sum to 1.
struct Quadrature {
  std::vector<double> nodes, weights;
};

/// The names that `quadrature` takes.
std::vector<std::string> quadrature_rules();

/// n points of "gauss-legendre", "midpoint", "trapezoid", "left" or "right"; n at least 1. One trapezoid point is the
/// midpoint. Gauss-Legendre spreads more than 512 points evenly over panels of at most 512 each: exact to degree 1023
/// in every panel, which is beyond what float64 can tell, at a cost that grows with n and not with its square. Nodes
/// and weights are exact to 1e-15.
Quadrature quadrature(const std::string& rule, int64_t n);

}  // namespace pellucid
