#include "attribution/quadrature.h"

#include <algorithm>
#include <cmath>

namespace pellucid {

namespace {

constexpr int64_t kMostPanelNodes = 512;

/// Newton's method on the Legendre polynomial P_n, from Chebyshev-like starts; one half, the other is its mirror image.
/// In long double, because the recurrence gathers rounding.
Quadrature gauss_legendre_panel(int64_t n) {
  Quadrature q;
  q.nodes.resize(static_cast<size_t>(n));
  q.weights.resize(static_cast<size_t>(n));
  const auto count = static_cast<long double>(n);
  for (int64_t m = 0; 2 * m < n; ++m) {
    const bool middle = 2 * m + 1 == n;
    long double x =
        middle ? 0 : std::cos(static_cast<long double>(M_PI) * (static_cast<long double>(m) + 0.75L) / (count + 0.5L));
    long double derivative = 1;
    for (int iteration = 0; iteration < 20; ++iteration) {
      long double p0 = 1, p1 = x;
      for (int64_t k = 2; k <= n; ++k) {
        const auto kd = static_cast<long double>(k);
        const long double p2 = ((2 * kd - 1) * x * p1 - (kd - 1) * p0) / kd;
        p0 = p1;
        p1 = p2;
      }
      derivative = n == 1 ? 1 : count * (x * p1 - p0) / (x * x - 1);
      if (middle) break;
      const long double step = p1 / derivative;
      x -= step;
      if (std::abs(step) < 1e-17L) break;  // quadratic convergence: the next step would be below rounding
    }
    const auto low = static_cast<size_t>(m), high = static_cast<size_t>(n - 1 - m);
    q.nodes[low] = static_cast<double>((1 - x) / 2);
    q.nodes[high] = static_cast<double>((1 + x) / 2);
    q.weights[low] = q.weights[high] = static_cast<double>(1 / ((1 - x * x) * derivative * derivative));
  }
  return q;
}

Quadrature gauss_legendre(int64_t n) {
  if (n <= kMostPanelNodes) return gauss_legendre_panel(n);
  const int64_t panels = (n + kMostPanelNodes - 1) / kMostPanelNodes;
  // The first n % panels panels have one node more; a panel is as wide as its share of the nodes.
  const int64_t fewer = n / panels;
  const Quadrature small = gauss_legendre_panel(fewer);
  const Quadrature large = n % panels ? gauss_legendre_panel(fewer + 1) : small;
  Quadrature q;
  double begin = 0;
  int64_t nodes = 0;
  for (int64_t panel = 0; panel < panels; ++panel) {
    const Quadrature& part = panel < n % panels ? large : small;
    nodes += static_cast<int64_t>(part.nodes.size());
    const double end = static_cast<double>(nodes) / static_cast<double>(n);
    for (size_t i = 0; i < part.nodes.size(); ++i) {
      q.nodes.push_back(begin + (end - begin) * part.nodes[i]);
      q.weights.push_back((end - begin) * part.weights[i]);
    }
    begin = end;
  }
  return q;
}

}  // namespace

std::vector<std::string> quadrature_rules() { return {"gauss-legendre", "midpoint", "trapezoid", "left", "right"}; }

Quadrature quadrature(const std::string& rule, int64_t n) {
  if (rule == "gauss-legendre") return gauss_legendre(n);
  Quadrature q;
  const auto count = static_cast<double>(n);
  for (int64_t m = 0; m < n; ++m) {
    const auto i = static_cast<double>(m);
    if (rule == "trapezoid") {
      q.nodes.push_back(n == 1 ? 0.5 : i / (count - 1));
      q.weights.push_back(n == 1 ? 1.0 : (m == 0 || m == n - 1 ? 0.5 : 1.0) / (count - 1));
    } else {
      q.nodes.push_back((i + (rule == "midpoint" ? 0.5 : rule == "right" ? 1.0 : 0.0)) / count);
      q.weights.push_back(1 / count);
    }
  }
  return q;
}

}  // namespace pellucid
