#include <ATen/Functions.h>

#include <cmath>

#include "pellucid/error.h"
#include "synthesis/papers.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

struct CppnParams {
  int64_t layers = 8;
  int64_t channels = 24;
};
template <class V>
void describe(V& visit, CppnParams& p) {
  visit("layers", p.layers, integer_between(1, 32), "Layers before the one that makes colors.");
  visit("channels", p.channels, integer_between(1, 256), "Numbers that each of them makes of a position.");
}

/// A network from coordinates to colors, for each picture one: patterns without pixels. Coordinates go from -sqrt(3) to
/// sqrt(3), so that their deviation is 1; after each layer t = atan(u) goes on as t / 0.67 beside t^2 / 0.6. It begins
/// as mid-gray.
class Cppn final : public Parameterization {
 public:
  Cppn(const PartScope&, const CppnParams& p) : p_(p) {}
  TensorList begin(const PartScope& scope, const at::Generator& generator) const override {
    TensorList variables;
    int64_t in = 2;
    for (int64_t layer = 0; layer < p_.layers; ++layer) {
      variables.push_back(drawn_normal({scope.batch, p_.channels, in}, generator, scope.options()) /
                          std::sqrt(static_cast<double>(in)));
      variables.push_back(0.1 * drawn_normal({scope.batch, p_.channels, 1}, generator, scope.options()));
      in = 2 * p_.channels;
    }
    variables.push_back(at::zeros({scope.batch, 3, in}, variables.front().options()));
    variables.push_back(at::zeros({scope.batch, 3, 1}, variables.front().options()));
    return variables;
  }
  TensorList encode(const PartScope&, const Tensor&) const override {
    throw_usage("cppn: no network can be found from a picture; use one stage, and no picture to begin with");
  }
  bool starts_with_picture() const override { return false; }

  Tensor decode(const PartScope& scope, const TensorList& variables) const override {
    const at::TensorOptions options = variables.front().options();
    const double end = std::sqrt(3.0);
    const Tensor y = at::linspace(-end, end, scope.height, options).view({-1, 1}).expand({scope.height, scope.width});
    const Tensor x = at::linspace(-end, end, scope.width, options).view({1, -1}).expand({scope.height, scope.width});
    Tensor net =
        at::stack({x, y}).flatten(1).unsqueeze(0).expand({variables.front().size(0), 2, scope.height * scope.width});
    for (size_t i = 0; i + 2 < variables.size(); i += 2) {
      const Tensor t = at::atan(at::baddbmm(variables[i + 1], variables[i], net));
      net = at::cat({t / 0.67, t.square() / 0.6}, 1);
    }
    const Tensor colors = at::baddbmm(variables.back(), variables[variables.size() - 2], net);
    return at::sigmoid(colors).view({-1, 3, scope.height, scope.width});
  }

 private:
  CppnParams p_;
};

}  // namespace

std::vector<PartEntry<Parameterization>> network_parameterizations() {
  return {part_entry<Parameterization, Cppn, CppnParams>(
      "cppn", "A small network from coordinates to colors; any size.", kStanley2007)};
}

}  // namespace pellucid
