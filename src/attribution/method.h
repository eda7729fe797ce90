#pragma once

#include <utility>

#include "pellucid/attribution.h"

namespace pellucid {

struct NoParams {};
template <class V>
void describe(V&, NoParams&) {}

/// Builds a table entry from a parameter struct with `describe` and the function that computes the method.
template <class P, class F>
Method make_method(const std::string& id, const std::string& title, const std::string& family,
                   const std::string& summary, const Paper& paper, unsigned needs, unsigned properties, F function) {
  Method m;
  m.id = id;
  m.title = title;
  m.family = family;
  m.summary = summary;
  m.paper = paper;
  m.needs = needs;
  m.properties = properties;
  m.params = param_specs<P>();
  m.run = [owner = id, function](const Context& context, const ParamMap& given) {
    return function(context, params_from<P>(owner, given));
  };
  m.complete = [owner = id](const ParamMap& given) { return params_text(params_from<P>(owner, given)); };
  return m;
}

namespace papers {
inline constexpr Paper kSimonyan2014{"simonyan2014", "Simonyan, Vedaldi, Zisserman",
                                     "Deep Inside Convolutional Networks: Visualising Image Classification Models and "
                                     "Saliency Maps",
                                     "ICLR Workshop", 2014};
inline constexpr Paper kShrikumar2017{"shrikumar2017", "Shrikumar, Greenside, Kundaje",
                                      "Learning Important Features Through Propagating Activation Differences", "ICML",
                                      2017};
inline constexpr Paper kSmilkov2017{"smilkov2017", "Smilkov, Thorat, Kim, Viegas, Wattenberg",
                                    "SmoothGrad: Removing Noise by Adding Noise", "arXiv", 2017};
inline constexpr Paper kHooker2019{"hooker2019", "Hooker, Erhan, Kindermans, Kim",
                                   "A Benchmark for Interpretability Methods in Deep Neural Networks", "NeurIPS", 2019};
inline constexpr Paper kAdebayo2018{"adebayo2018", "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim",
                                    "Sanity Checks for Saliency Maps", "NeurIPS", 2018};
inline constexpr Paper kSundararajan2017{"sundararajan2017", "Sundararajan, Taly, Yan",
                                         "Axiomatic Attribution for Deep Networks", "ICML", 2017};
inline constexpr Paper kZeiler2014{"zeiler2014", "Zeiler, Fergus",
                                   "Visualizing and Understanding Convolutional Networks", "ECCV", 2014};
inline constexpr Paper kSpringenberg2015{"springenberg2015", "Springenberg, Dosovitskiy, Brox, Riedmiller",
                                         "Striving for Simplicity: The All Convolutional Net", "ICLR Workshop", 2015};
inline constexpr Paper kZhou2016{"zhou2016", "Zhou, Khosla, Lapedriza, Oliva, Torralba",
                                 "Learning Deep Features for Discriminative Localization", "CVPR", 2016};
inline constexpr Paper kSelvaraju2017{
    "selvaraju2017", "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra",
    "Grad-CAM: Visual Explanations from Deep Networks via Gradient-Based Localization", "ICCV", 2017};
inline constexpr Paper kChattopadhyay2018{"chattopadhyay2018", "Chattopadhyay, Sarkar, Howlader, Balasubramanian",
                                          "Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks",
                                          "WACV", 2018};
inline constexpr Paper kOmeiza2019{"omeiza2019", "Omeiza, Speakman, Cintas, Weldemariam",
                                   "Smooth Grad-CAM++: An Enhanced Inference Level Visualization Technique", "arXiv",
                                   2019};
inline constexpr Paper kFu2020{"fu2020", "Fu, Hu, Dong, Guo, Gao, Li",
                               "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs", "BMVC",
                               2020};
inline constexpr Paper kDraelos2020{
    "draelos2020", "Draelos, Carin",
    "Use HiResCAM Instead of Grad-CAM for Faithful Explanations of Convolutional Neural "
    "Networks",
    "arXiv", 2020};
inline constexpr Paper kJiang2021{"jiang2021", "Jiang, Zhang, Hou, Cheng, Wei",
                                  "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", "IEEE TIP",
                                  2021};
inline constexpr Paper kMuhammad2020{"muhammad2020", "Muhammad, Yeasin",
                                     "Eigen-CAM: Class Activation Map using Principal Components", "IJCNN", 2020};
}  // namespace papers

/// The loop that every method shares: record to the target, seed it, walk back.
struct GradientRequest {
  Tensor input;               ///< [M,C,H,W]
  std::vector<int64_t> rows;  ///< The image each row of `input` belongs to.
  std::vector<ValueId> wrt;   ///< Values to differentiate with respect to.
  RuleMap rules;
  ValueId at = kNoValue;  ///< The value that `input` holds, [M,...]; the network's input when left out.
  Tensor beside = {};     ///< With `at`: pictures [M,...] for the branches that do not come from there.
  /// What is differentiated instead of the target's score: [M] from the target's value, by differentiable operations.
  std::function<Tensor(const BoundTarget& target, const Tensor& value)> score = {};
  bool keep_all = false;    ///< Rules look at the values of the nodes they govern.
  bool from_score = false;  ///< Start from the score (seed times value) instead of one: relevance, not gradients.
};
struct GradientResult {
  Tensor score;      ///< [M]
  Tensor start;      ///< [M] float64, the sum of what the walk started from.
  Values values;     ///< Forward value of each `wrt`.
  Values gradients;  ///< Of each `wrt`; zeros (for the input) where no path leads to the target.
  std::map<std::string, int64_t> rule_uses;
};
/// In passes of `gradient_rows`. A `wrt` other than the input without influence on the target throws
/// Error(kUsage).
GradientResult gradients(const Context& context, const GradientRequest& request);

/// Rows that one pass with gradients takes together: `context.memory_budget` over what the record of one row keeps, at
/// most `context.batch_size`; 1 for networks that do not batch safely.
int64_t gradient_rows(const Context& context, const std::vector<ValueId>& wrt);

/// Rows that one forward pass from `at` may take together: `context.memory_budget` over what one row keeps alive, at
/// most 64; 1 for networks that do not batch safely.
int64_t rows_within_budget(const Context& context, ValueId at);

/// Rows that one pass with gradients may take: `context.batch_size`, or 1 for networks that do not batch safely.
int64_t rows_per_pass(const Context& context);

/// Scores without gradients, [M].
Tensor scores(const Context& context, const Tensor& input, const std::vector<int64_t>& rows);

ValueId input_value(const Context& context);
std::vector<int64_t> all_rows(const Context& context);
int64_t num_images(const Context& context);
/// Height and width of the input picture.
std::pair<int64_t, int64_t> input_size(const Context& context);
/// Pictures as [N,C,H,W] whatever layout the model has, and back.
Tensor to_planes(const Context& context, const Tensor& pictures);
Tensor from_planes(const Context& context, const Tensor& planes);

enum class Reduction { kSum, kMaxAbs, kSumPositive };
/// An input-shaped attribution with its map: channels reduced as stated.
Attribution input_attribution(const Context& context, const Tensor& values, Reduction reduction);

/// The map [N,H,W] at input resolution of values shaped like the input, [N,K,h,w] or [N,h,w], by one of the reductions
/// that Attribution::reduction names; undefined for any other. Where there are no channels to reduce, `rectify` drops
/// what is negative.
Tensor map_from_values(const Context& context, const Tensor& values, const std::string& reduction, bool rectify);

/// A layer's map [N,h,w] at input resolution [N,H,W], by Method parameter `align`: "half-pixel" spreads its positions
/// evenly, "receptive-field" puts each at the centre of what it sees, and repeats the outermost beyond them. Throws
/// Error(kUsage) where receptive fields are not known.
Tensor layer_map_at_input(const Context& context, ValueId layer, const Tensor& map, const std::string& align);

/// Layer-shaped values [N,K,h,w] or tokens as one map: channels summed, then finished as class activation maps are.
Attribution summed_channels(const Context& context, const Values& layers, bool rectify);

/// A layer's [N,K,h,w] as it is, tokens [N,T,D] as [N,D,rows,columns] without class and register tokens. Throws
/// Error(kUsage) for layers of any other shape.
Tensor layer_planes(const Context& context, ValueId layer, const Tensor& t);

// The families, one declaration per line of the table in methods.cpp.
Method gradient_method();
Method saliency_method();
Method gradient_x_input_method();
Method smoothgrad_method();
Method smoothgrad_squared_method();
Method vargrad_method();
Method integrated_gradients_method();
Method guided_ig_method();
Method blur_ig_method();
Method expected_gradients_method();
Method xrai_method();
Method layer_conductance_method();
Method internal_influence_method();
Method layer_integrated_gradients_method();
Method deconvnet_method();
Method guided_backprop_method();
Method cam_method();
Method grad_cam_method();
Method counterfactual_grad_cam_method();
Method grad_cam_plus_plus_method();
Method guided_grad_cam_method();
Method guided_grad_cam_plus_plus_method();
Method smooth_grad_cam_plus_plus_method();
Method xgrad_cam_method();
Method hires_cam_method();
Method layer_cam_method();
Method grad_cam_elementwise_method();
Method eigen_cam_method();
Method eigen_grad_cam_method();
Method random_method();
Method edges_method();
Method center_method();
Method activation_mean_method();
Method occlusion_method();
Method score_cam_method();
Method ablation_cam_method();
Method recipro_cam_method();
Method kpca_cam_method();
Method fem_method();
Method finer_cam_method();
Method shapley_cam_method();
Method full_grad_method();
Method rise_method();
Method lime_method();
Method kernel_shap_method();
Method shapley_sampling_method();
Method feature_ablation_method();
Method meaningful_perturbation_method();
Method extremal_perturbation_method();
Method sobol_method();
Method hsic_method();
Method lrp_method();
Method deeplift_method();
Method excitation_backprop_method();
Method contrastive_excitation_backprop_method();

/// Rules for DeconvNet and guided backprop; also used by the guided CAMs.
RuleMap deconvnet_rules();
RuleMap guided_backprop_rules();
/// Values [N,C,H,W] of guided backprop, with the notes on unmatched or unusual activations.
Attribution guided_backprop_values(const Context& context);

}  // namespace pellucid
