#pragma once

#include "pellucid/attribution.h"

namespace pellucid::test {

/// The method with few steps and samples, so that the suite stays quick.
inline MethodCall quick(const Method& method) {
  MethodCall call{&method, {}};
  for (const ParamSpec& spec : method.params) {
    if (spec.name == "samples") call.params["samples"] = "6";
    if (spec.name == "steps") call.params["steps"] = "8";
    if (spec.name == "iterations") call.params["iterations"] = "20";
  }
  // Inputs are standard normal here, and a card without preprocessing has gray at 127.5.
  for (const ParamSpec& spec : method.params) {
    if (spec.name == "fill") call.params["fill"] = "zero";
  }
  // Regressions on some forty features need more than a handful of rows.
  if (method.id == "lime" || method.id == "kernel-shap") call.params["samples"] = "120";
  // Fewer steps than published must be larger, and follow the score rather than the area.
  if (method.id == "extremal-perturbation") {
    call.params["learning_rate"] = "20";
    call.params["area_weight"] = "1";
  }
  return call;
}

}  // namespace pellucid::test
