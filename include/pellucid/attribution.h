#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pellucid/model.h"
#include "pellucid/params.h"

namespace pellucid {

/// Everything a method works with: the network, the pictures, what is explained and where.
/// Network, layers, card and progress are borrowed: they must live as long as the context.
struct Context {
  const Network& network;
  const LayerTable& layers;
  const ModelCard& card;
  Tensor input;                          ///< [N,C,H,W] in the model domain (or [N,H,W,C] as the card says).
  BoundTarget target;                    ///< One entry per image.
  std::vector<ValueId> cam_layers = {};  ///< For methods that need a layer; fused when there are several.
  uint64_t seed = 0;
  int64_t batch_size = 16;  ///< Most images per pass with gradients.
  Progress* progress = nullptr;
  /// Standard normal noise [n, ...shape of one image] instead of the generator's own, to reproduce a reference run.
  Tensor injected_noise = {};
  /// Bytes of activations that one pass over perturbed pictures may hold; decides how many go together.
  int64_t memory_budget = int64_t{256} << 20;
  /// Features of a user's own, int64 [N,H,W] with labels 0..M-1, for methods that perturb regions.
  Tensor regions = {};
  /// Superpixels of one picture [C,H,W] in display range: `spec` is "slic:SIZE" or "seeds:COUNT", the result
  /// int64 [H,W] with labels 0..M-1. Set by who can segment pictures; without it only grids are to be had.
  std::function<Tensor(const Tensor& display, const std::string& spec)> segmenter = {};
  /// Pictures to compare with [M,...], in the model domain, for methods with a distribution of baselines.
  Tensor background = {};
  /// Random draws by name ("masks", "permutations", ...; each method says which) instead of the generator's own.
  std::map<std::string, Tensor> injected = {};
};

/// What a method found for a batch of images. Numbers are signed and never normalized; pictures are made from them
/// later.
struct Attribution {
  /// At the method's own resolution: [N,C,H,W] for input methods, [N,h,w] for layer methods before any ReLU.
  Tensor values;
  /// At input resolution, [N,H,W]: reduced over channels, with the ReLU the method's definition has, resampled
  /// bilinearly with half-pixel centres.
  Tensor map;
  bool is_signed = true;  ///< Whether `map` may be negative.
  /// Whether 0 in `map` says "no evidence"; if not, only differences within it mean something.
  bool zero_is_neutral = true;
  std::string reduction;  ///< How channels were reduced: "max-abs", "sum", "none".
  std::vector<ValueId> layers;
  std::map<ValueId, Tensor> layer_values;                  ///< With several layers, the raw map of each.
  std::map<std::string, Tensor> extra;                     ///< More maps [N,H,W] by name: "standard-error", "features".
  std::vector<std::map<std::string, double>> diagnostics;  ///< Per image: completeness gap, passes, ...
  std::vector<std::vector<std::string>> notes;  ///< Per image: why a map is blank, which rule matched nothing, ...
  std::map<std::string, int64_t> rule_uses;
};

struct Paper {
  const char* key;  ///< In docs/bibliography.bib.
  const char* authors;
  const char* title;
  const char* venue;
  int year;
};

enum MethodNeed : unsigned {
  kNeedsTarget = 1,
  kNeedsLayer = 2,
  kNeedsBaseline = 4,
  kNeedsGradient = 8,
  kNeedsInputGradient = 16  ///< The gradient goes down to the input, which must be floating point.
};
enum MethodProperty : unsigned {
  kComplete = 1,          ///< Attributions sum to the difference of scores, up to the reported gap.
  kNonNegative = 2,       ///< The map is never negative.
  kStochastic = 4,        ///< Depends on the seed.
  kClassAgnostic = 8,     ///< The same for every target.
  kScalesWithLogit = 16,  ///< Doubling the logit doubles the values.
  kModelFree = 32         ///< Does not look at the network.
};

/// One entry in the table of methods. Flags, help, docs, JSON and the shared tests follow from it.
struct Method {
  std::string id;
  std::string title;
  std::string family;   ///< "gradient", "propagation", "cam", "perturbation" or "baseline".
  std::string summary;  ///< One line.
  Paper paper;
  unsigned needs = 0;
  unsigned properties = 0;
  std::vector<ParamSpec> params;
  std::function<Attribution(const Context&, const ParamMap&)> run;
  /// Defaults filled in; throws Error(kUsage) on a wrong name or value.
  std::function<ParamMap(const ParamMap&)> complete;
};

/// Every method, in the order of the table. Duplicate ids are refused when it is first built.
const std::vector<Method>& methods();

/// Parameters of smooth(METHOD), which averages any method over noisy copies of the pictures.
std::vector<ParamSpec> smooth_params();

/// A method and its parameters, as one string: "integrated-gradients:steps=100,baseline=blur:5". Any method can be
/// averaged over noisy copies: "smooth(grad-cam):samples=20,noise=0.1", "smooth(integrated-gradients:steps=10)".
struct MethodCall {
  const Method* method = nullptr;
  ParamMap params;                             ///< Only those that were given.
  std::shared_ptr<const Method> wrapped = {};  ///< Holds `method` when it is not in the table.

  /// Throws Error(kUsage) for an unknown method or a bad parameter.
  static MethodCall parse(const std::string& text);
  std::string text() const;
};

/// Splits "a,b:x=1,y=2,smooth(c:z=3)" at the commas that begin a new method; "all" stands for every method.
std::vector<MethodCall> parse_methods(const std::string& text);

/// Runs a method on a batch, checks that every number is finite, and notes maps that are blank with the reason.
/// Throws Error(kFailed) naming the method when it makes a NaN.
Attribution attribute(const MethodCall& call, const Context& context);

/// Bilinear resampling with half-pixel centres: [N,h,w] -> [N,H,W].
Tensor upsample_map(const Tensor& map, int64_t height, int64_t width);

}  // namespace pellucid
