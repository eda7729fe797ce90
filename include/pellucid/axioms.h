#pragma once

#include <string>
#include <vector>

#include "pellucid/attribution.h"

namespace pellucid {

/// What an axiom asks of an attribution method, and how it is tried on one model and its pictures. A method that holds
/// on some pictures has not been proven to hold on all; one that fails has failed, with the counter-example.
/// Sundararajan, Taly, Yan. "Axiomatic Attribution for Deep Networks". ICML 2017; input invariance: Kindermans, Hooker,
/// Adebayo, Alber, Schuett, Daehne, Erhan, Kim. "The (Un)reliability of Saliency Methods". 2019.
struct Axiom {
  std::string id;  ///< "implementation-invariance"
  std::string title;
  std::string statement;
  std::string check;  ///< What is done, in one or two sentences.
};

/// completeness, sensitivity-a, sensitivity-b, implementation-invariance, symmetry, linearity, input-invariance.
const std::vector<Axiom>& axioms();

enum class Verdict { kHolds, kFails, kDoesNotApply };
const char* verdict_text(Verdict verdict);  ///< "holds", "fails", "does not apply".

struct AxiomReport {
  std::string axiom;  ///< Axiom::id
  Verdict verdict = Verdict::kDoesNotApply;
  double measured = 0;   ///< The worst number found; what it is, `finding` says.
  double tolerance = 0;  ///< It fails above this.
  std::string finding;   ///< The counter-example, the worst case that still held, or why the axiom does not apply.
  int64_t tried = 0;     ///< Cases that were tried: pictures, features, rewritten graphs.
};

struct AxiomOptions {
  std::vector<std::string> only = {};      ///< Axiom ids; empty: all.
  std::vector<std::string> pictures = {};  ///< What the pictures are called in findings; empty: by their number.
  int64_t features = 32;                   ///< Features tried for sensitivity (a).
  int64_t pairs = 2;                       ///< Pairs of pixels tried for symmetry.
  int64_t border = 4;                      ///< Pixels added on every side for sensitivity (b).
  /// Largest deviation relative to the largest value of the map; 0 takes 1e-6 in float64 and 1e-3 below, since a
  /// rectifier near zero may switch in another order of sums.
  double tolerance = 0;
  double completeness_tolerance = 0.01;  ///< Gap over difference of scores, as quadrature leaves some.
};

/// Tries every axiom on a method for all pictures of the context, one by one. The target has to be one class of a
/// classifier for those that change the graph; otherwise they do not apply. Uses the context's precision: float64 tells
/// rounding from failure. Throws Error(kUsage) for an unknown axiom.
std::vector<AxiomReport> check_axioms(const MethodCall& method, const Context& context,
                                      const AxiomOptions& options = {});

}  // namespace pellucid
