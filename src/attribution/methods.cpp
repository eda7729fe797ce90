// The table of methods. To add one: write <method>.cpp with its parameters, `describe`, the function and its Method;
// declare it in method.h; add its line here, in the order of the documentation; list the file in src/CMakeLists.txt;
// write <method>_test.cpp with an analytic oracle. Flags, help, docs, JSON and the shared invariants follow.

#include <algorithm>
#include <cmath>
#include <set>

#include "attribution/noise.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

const std::vector<Method>& methods() {
  static const std::vector<Method> table = [] {
    std::vector<Method> list{gradient_method(),
                             saliency_method(),
                             gradient_x_input_method(),
                             smoothgrad_method(),
                             smoothgrad_squared_method(),
                             vargrad_method(),
                             integrated_gradients_method(),
                             guided_ig_method(),
                             blur_ig_method(),
                             expected_gradients_method(),
                             xrai_method(),
                             layer_conductance_method(),
                             internal_influence_method(),
                             layer_integrated_gradients_method(),
                             full_grad_method(),
                             deconvnet_method(),
                             guided_backprop_method(),
                             lrp_method(),
                             deeplift_method(),
                             excitation_backprop_method(),
                             contrastive_excitation_backprop_method(),
                             cam_method(),
                             grad_cam_method(),
                             counterfactual_grad_cam_method(),
                             grad_cam_plus_plus_method(),
                             guided_grad_cam_method(),
                             guided_grad_cam_plus_plus_method(),
                             smooth_grad_cam_plus_plus_method(),
                             xgrad_cam_method(),
                             hires_cam_method(),
                             layer_cam_method(),
                             grad_cam_elementwise_method(),
                             eigen_cam_method(),
                             eigen_grad_cam_method(),
                             kpca_cam_method(),
                             fem_method(),
                             finer_cam_method(),
                             shapley_cam_method(),
                             score_cam_method(),
                             ablation_cam_method(),
                             recipro_cam_method(),
                             occlusion_method(),
                             feature_ablation_method(),
                             rise_method(),
                             lime_method(),
                             kernel_shap_method(),
                             shapley_sampling_method(),
                             meaningful_perturbation_method(),
                             extremal_perturbation_method(),
                             sobol_method(),
                             hsic_method(),
                             random_method(),
                             edges_method(),
                             center_method(),
                             activation_mean_method()};
    std::set<std::string> ids;
    for (Method& m : list) {
      if ((m.needs & kNeedsGradient) && !(m.needs & kNeedsLayer)) m.needs |= kNeedsInputGradient;
    }
    for (const Method& m : list) TORCH_INTERNAL_ASSERT(ids.insert(m.id).second, "two methods are named ", m.id);
    return list;
  }();
  return table;
}

namespace {

std::vector<std::string> method_ids() {
  std::vector<std::string> ids;
  for (const Method& m : methods()) ids.push_back(m.id);
  return ids;
}

const Method* find_method(const std::string& id) {
  for (const Method& m : methods()) {
    if (m.id == id) return &m;
  }
  return nullptr;
}

/// "smooth(METHOD:PARAMETERS)".
std::shared_ptr<const Method> wrapped_method(const std::string& id) {
  const std::string opening = "smooth(";
  const std::string inner = id.size() > opening.size() ? id.substr(opening.size(), id.size() - opening.size() - 1) : "";
  if (id.rfind(opening, 0) != 0 || id.back() != ')' || inner.find_first_of("()") != std::string::npos) {
    throw_usage("no method '" + printable(id) +
                "'; smooth(METHOD) is the only form with parentheses, and does not go inside itself");
  }
  return std::make_shared<Method>(smooth_method(MethodCall::parse(inner)));
}

}  // namespace

MethodCall MethodCall::parse(const std::string& text) {
  const std::string id = call_id(text);
  MethodCall call;
  if (id.find_first_of("()") != std::string::npos) {
    call.wrapped = wrapped_method(id);
    call.method = call.wrapped.get();
  } else {
    call.method = find_method(id);
  }
  if (!call.method) {
    throw_usage("no method '" + printable(id) + "'" + did_you_mean(id, method_ids()) +
                " ('pellucid methods' lists all)");
  }
  call.params = call_params(call.method->id, text);
  call.method->complete(call.params);
  return call;
}

std::string MethodCall::text() const { return call_text(method->id, method->params, params); }

std::vector<MethodCall> parse_methods(const std::string& text) {
  std::vector<MethodCall> calls;
  for (const std::string& piece : split_calls(text)) {
    if (trim(piece) == "all") {
      for (const Method& m : methods()) calls.push_back({&m, {}});
    } else {
      calls.push_back(MethodCall::parse(piece));
    }
  }
  return calls;
}

namespace {

/// The Euclidean norm of each image's map, on the CPU: one read that is vectorized. It tells at once that a map is
/// finite and not blank; whether it is one of the two is asked only where the norm is not finite or 0 (as by
/// underflow).
std::vector<double> norms(const Tensor& map) {
  const Tensor n = at::linalg_vector_norm(map.flatten(1), 2, at::IntArrayRef{1}).to(at::kCPU).to(at::kDouble);
  return {n.data_ptr<double>(), n.data_ptr<double>() + n.numel()};
}

/// A NaN or infinity anywhere makes the sum one; only then is each number looked at.
void check_finite(const Method& method, const Tensor& t) {
  if (std::isfinite(t.sum(at::kDouble).item<double>()) || at::isfinite(t).all().item<bool>()) return;
  throw_failed(method.id +
               ": the result is not finite; the model's weights, the input or an activation holds NaN or "
               "infinity, or float32 overflowed (try --precision float64)");
}

/// Why a map shows nothing, in the words of the result.
void note_blank_maps(const Method& method, const std::vector<double>& map_norms, Attribution& a) {
  for (int64_t i = 0; i < a.map.size(0); ++i) {
    if (map_norms[static_cast<size_t>(i)] > 0 || a.map[i].abs().max().item<double>() > 0) continue;
    const Tensor raw = a.values[i];
    std::string why;
    if (raw.abs().max().item<double>() == 0) {
      why = (method.properties & kModelFree) != 0 ? "blank: the picture is of one color"
            : !(method.needs & (kNeedsLayer | kNeedsGradient))
                ? "blank: nothing that was changed in the picture changes the score"
            : (method.needs & kNeedsLayer) == 0
                ? "blank: every gradient is zero (saturated or dead units, or a score that ignores the picture)"
            : method.needs & kNeedsGradient ? "blank: the gradients or the activations of the layer are all zero"
            : method.needs & kNeedsTarget
                ? "blank: the activations of the layer are all zero, or none changes the score"
                : "blank: the activations of the layer are all zero";
    } else if (method.id == "counterfactual-grad-cam") {
      why = "blank: nothing in the layer speaks against the target";
    } else {
      why =
          "blank: the map is nowhere positive before its ReLU; the counterfactual map shows what speaks against the "
          "target";
    }
    a.notes[static_cast<size_t>(i)].push_back(why);
  }
}

}  // namespace

Attribution attribute(const MethodCall& call, const Context& given) {
  at::NoGradGuard no_grad;
  const GraphInput& declared = given.network.graph().inputs().front();
  if ((call.method->needs & kNeedsInputGradient) && !at::isFloatingType(declared.type)) {
    throw_unsupported(call.method->id + ": the network's input '" +
                      printable(given.network.graph().value(declared.value).name) +
                      "' is not floating point, so no gradient reaches it; class activation maps and perturbation "
                      "methods need none");
  }
  Context context = given;
  context.cam_layers.clear();
  for (const ValueId id : given.cam_layers) {  // a layer named twice is one layer
    if (std::find(context.cam_layers.begin(), context.cam_layers.end(), id) == context.cam_layers.end()) {
      context.cam_layers.push_back(id);
    }
  }
  Attribution a = call.method->run(context, call.params);
  const auto count = static_cast<size_t>(num_images(context));
  a.diagnostics.resize(count);
  a.notes.resize(count);
  check_finite(*call.method, a.values);
  const std::vector<double> map_norms = norms(a.map);
  if (!std::all_of(map_norms.begin(), map_norms.end(), [](double n) { return std::isfinite(n); })) {
    check_finite(*call.method, a.map);
  }
  note_blank_maps(*call.method, map_norms, a);
  return a;
}

}  // namespace pellucid
