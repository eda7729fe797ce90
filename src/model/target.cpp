#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>

#include "core/lower_case.h"
#include "model/class_scores.h"
#include "pellucid/error.h"
#include "pellucid/model.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

bool starts_with(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }

/// Whether `part` stands in `text` with no letter or digit beside it.
bool has_word(const std::string& text, const std::string& part) {
  const auto in_word = [&](size_t i) { return i < text.size() && std::isalnum(static_cast<unsigned char>(text[i])); };
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    if ((at == 0 || !in_word(at - 1)) && !in_word(at + part.size())) return true;
  }
  return false;
}

std::vector<int64_t> indices_from(const std::string& text, const std::string& whole) {
  std::vector<int64_t> numbers;
  for (const std::string& part : split(text, ',')) {
    int64_t n = 0;
    if (!parse_int(trim(part), n) || n < 0) {
      throw_usage("target '" + printable(whole) + "': '" + printable(part) + "' is not an index >= 0");
    }
    numbers.push_back(n);
  }
  return numbers;
}

/// Masks [H,W] or [N,H,W] at the size of a dense output, bool [N,h,w].
Tensor dense_masks(const Tensor& mask, const Tensor& value) {
  const Shape size{value.size(2), value.size(3)};
  const Tensor planes = mask.ne(0).to(at::kFloat).view({-1, 1, mask.size(-2), mask.size(-1)});
  if (planes.size(0) != 1 && planes.size(0) != value.size(0)) {
    throw_usage("target: " + std::to_string(planes.size(0)) + " masks for " + std::to_string(value.size(0)) +
                " pictures");
  }
  Tensor nearest = at::upsample_nearest2d(planes, size).gt(0);
  // What is smaller than a position of the output must not vanish between two of them.
  const Tensor touched = std::get<0>(at::adaptive_max_pool2d(planes, size)).gt(0);
  nearest = at::where(nearest.flatten(1).any(1).view({-1, 1, 1, 1}), nearest, touched);
  return nearest.squeeze(1).expand({value.size(0), size[0], size[1]}).to(value.device());
}

/// "X,Y,W,H" after " in ".
std::vector<double> box_from(const std::string& text, const std::string& whole) {
  std::vector<double> box;
  for (const std::string& part : split(text, ',')) {
    double n = 0;
    if (!parse_double(trim(part), n) || !std::isfinite(n)) box.clear();
    box.push_back(n);
  }
  if (box.size() != 4 || box[2] <= 0 || box[3] <= 0) {
    throw_usage("target '" + printable(whole) + "': the box is '" + printable(text) +
                "'; X,Y,W,H in pixels with W and H above 0 was expected");
  }
  return box;
}

/// The positions of a dense output [N,classes,h,w] inside a box in pixels of the input: bool [h,w].
Tensor box_mask(const std::string& text, const std::vector<double>& box, const Shape& input, const ModelCard& card,
                const Tensor& value) {
  const size_t first = card.channels_first ? 2 : 1;
  const auto inside = [&](double start, double extent, int64_t pixels, int64_t positions) {
    if (start >= static_cast<double>(pixels) || start + extent <= 0) {
      throw_usage("target '" + printable(text) + "': the box lies outside the model's input of " +
                  std::to_string(input.at(first + 1)) + "x" + std::to_string(input.at(first)) + " pixels");
    }
    const double step = static_cast<double>(pixels) / static_cast<double>(positions);
    const Tensor centers = (at::arange(positions, at::TensorOptions(at::kDouble)) + 0.5) * step;
    Tensor result = centers.ge(start).logical_and(centers.lt(start + extent));
    const double low = std::max(start, 0.0), high = std::min(start + extent, static_cast<double>(pixels));
    const auto middle = static_cast<int64_t>((low + high) / 2 / step);
    result[std::min(middle, positions - 1)] = true;
    return result;
  };
  const Tensor rows = inside(box[1], box[3], input.at(first), value.size(2));
  const Tensor columns = inside(box[0], box[2], input.at(first + 1), value.size(3));
  return rows.unsqueeze(1).logical_and(columns.unsqueeze(0));
}

}  // namespace

Target Target::parse(const std::string& text) {
  Target t;
  t.text = text;
  std::string rest = trim(text);
  if (rest.empty()) throw_usage("target is empty; top1, a class index or a label was expected");
  if (starts_with(rest, "probability:")) {
    t.probability = true;
    rest = trim(rest.substr(12));
  }
  const auto refuse_probability = [&] {
    if (t.probability) {
      throw_usage("target '" + printable(text) + "': probability goes with one class; '" + printable(rest) +
                  "' is none");
    }
  };
  if (rest == "similarity") {
    refuse_probability();
    t.kind = Kind::kSimilarity;
    return t;
  }
  for (const auto& [prefix, kind, count] :
       {std::tuple{"channel:", Kind::kChannel, 1}, std::tuple{"unit:", Kind::kUnit, 3},
        std::tuple{"element:", Kind::kElement, 0}}) {
    if (!starts_with(rest, prefix)) continue;
    refuse_probability();
    const size_t colon = rest.rfind(':');
    t.kind = kind;
    const size_t start = std::string(prefix).size();
    if (colon < start) throw_usage("target '" + printable(text) + "': '" + prefix + "NAME:INDICES' was expected");
    t.layer = rest.substr(start, colon - start);
    t.position = indices_from(rest.substr(colon + 1), text);
    if (count > 0 && static_cast<int>(t.position.size()) != count) {
      throw_usage("target '" + printable(text) + "': " + std::to_string(count) +
                  (count == 1 ? " index was" : " indices were") + " expected after the layer");
    }
    return t;
  }
  if (starts_with(rest, "mean:")) {
    refuse_probability();
    t.kind = Kind::kMeanDifference;
    rest = trim(rest.substr(5));
  }
  // A label may hold " in " too: only numbers after it make a box.
  const size_t in = rest.rfind(" in ");
  if (in != std::string::npos) {
    const std::string after = trim(rest.substr(in + 4));
    if (after.find_first_not_of("0123456789.,+- ") == std::string::npos) {
      t.box = box_from(after, text);
      rest = trim(rest.substr(0, in));
    }
  }
  const size_t versus = rest.find(" vs ");
  if (versus != std::string::npos && t.kind == Kind::kRank) {
    refuse_probability();
    t.kind = Kind::kDifference;
    t.other = trim(rest.substr(versus + 4));
    const Target other = parse(t.other);
    if (other.probability || (other.kind != Kind::kRank && other.kind != Kind::kClass)) {
      throw_usage("target '" + printable(text) + "': a class was expected after 'vs', not '" + printable(t.other) +
                  "'");
    }
    rest = trim(rest.substr(0, versus));
  }
  int64_t rank = 0;
  if (starts_with(rest, "top") && parse_int(rest.substr(3), rank)) {
    if (rank < 1) throw_usage("target '" + printable(text) + "': ranks count from 1");
    t.rank = rank;
    t.name.clear();
    return t;
  }
  if (t.kind == Kind::kRank) t.kind = Kind::kClass;
  t.rank = 0;
  t.name = rest;
  return t;
}

int64_t class_from_name(const std::string& name, const ModelCard& card, int64_t num_classes) {
  int64_t index = 0;
  if (parse_int(name, index)) {
    if (index < 0 || index >= num_classes) {
      throw_usage("target: class " + name + " does not exist; the model has classes 0 to " +
                  std::to_string(num_classes - 1));
    }
    return index;
  }
  const std::string wanted = lower_case(name);
  std::vector<int64_t> exact, words, partial;
  for (size_t i = 0; i < card.labels.size() && static_cast<int64_t>(i) < num_classes; ++i) {
    const std::string label = lower_case(card.labels[i]);
    if (label == wanted) exact.push_back(static_cast<int64_t>(i));
    if (has_word(label, wanted)) words.push_back(static_cast<int64_t>(i));
    if (label.find(wanted) != std::string::npos) partial.push_back(static_cast<int64_t>(i));
  }
  const std::vector<int64_t>& found = !exact.empty() ? exact : !words.empty() ? words : partial;
  if (found.size() == 1) return found.front();
  if (card.labels.empty()) {
    throw_usage("target: '" + printable(name) + "' is not a class index, and the model has no labels (--labels FILE)");
  }
  if (found.empty()) throw_usage("target: no class '" + printable(name) + "'" + did_you_mean(name, card.labels));
  std::string list;
  for (size_t i = 0; i < found.size() && i < 5; ++i) {
    list += (i ? ", " : "") + std::to_string(found[i]) + " " + card.label(found[i]);
  }
  throw_usage("target: '" + printable(name) + "' fits " + std::to_string(found.size()) + " classes (" + list +
              (found.size() > 5 ? ", ..." : "") + "); use an index");
}

ValueId target_value(const Target& target, const LayerTable& layers, const Graph& graph) {
  switch (target.kind) {
    case Target::Kind::kChannel:
    case Target::Kind::kUnit:
      return layers.find(target.layer);
    case Target::Kind::kElement: {
      std::vector<std::string> names;
      for (const ValueId id : graph.outputs()) {
        names.push_back(graph.value(id).name);
        if (names.back() == target.layer || target.layer.empty()) return id;
      }
      int64_t position = 0;
      if (parse_int(target.layer, position) && position >= 0 && position < static_cast<int64_t>(names.size())) {
        return graph.outputs()[static_cast<size_t>(position)];
      }
      throw_usage(graph.name + ": no output '" + printable(target.layer) + "'" + did_you_mean(target.layer, names) +
                  "; the outputs are " + join(names, ", "));
    }
    default:
      return layers.logits();
  }
}

int64_t num_classes(const LayerTable& layers) {
  const Shape& shape = layers.shape(layers.logits());
  const int64_t scores = shape.at(static_cast<size_t>(shape.size() == 4 ? layers.class_axis() : 1));
  return scores == 1 ? 2 : scores;
}

Tensor paired_scores(const Tensor& scores) { return scores.size(1) == 1 ? at::cat({-scores, scores}, 1) : scores; }

Tensor class_probabilities(const Tensor& scores, bool sigmoid) {
  if (sigmoid || scores.size(1) == 1) return at::sigmoid(paired_scores(scores));
  return at::softmax(scores, 1);
}

Tensor log_class_probabilities(const Tensor& scores, bool sigmoid) {
  if (sigmoid || scores.size(1) == 1) return at::log_sigmoid(paired_scores(scores));
  return at::log_softmax(scores, 1);
}

BoundTarget::BoundTarget(const Target& target, const LayerTable& layers, const ModelCard& card, ValueId id,
                         const Tensor& given)
    : target_(target), value_(id), count_(given.dim() ? given.size(0) : 1), sigmoid_(layers.squashing() == "Sigmoid") {
  using Kind = Target::Kind;
  const bool is_class = target.kind == Kind::kRank || target.kind == Kind::kClass || target.kind == Kind::kDifference ||
                        target.kind == Kind::kMeanDifference;
  if (!is_class) {
    if (target.kind == Kind::kSimilarity) {
      if (!target.reference.defined()) throw_usage("target 'similarity' needs a reference picture");
    } else {
      const size_t rank = static_cast<size_t>(given.dim());
      const bool fits = target.kind == Kind::kChannel ? rank >= 2 : target.position.size() == rank - 1;
      if (!fits)
        throw_usage("target '" + printable(target.text) + "' does not fit a value of shape " +
                    shape_text(given.sizes()));
      for (size_t i = 0; i < target.position.size(); ++i) {
        if (target.position[i] >= given.size(static_cast<int64_t>(i) + 1)) {
          throw_usage("target '" + printable(target.text) + "': index " + std::to_string(target.position[i]) +
                      " is beyond the value's shape " + shape_text(given.sizes()));
        }
      }
    }
    descriptions_.assign(static_cast<size_t>(count_), printable(target.text));
    return;
  }
  at::NoGradGuard no_grad;
  if (!given.is_floating_point()) {
    throw_unsupported("target '" + printable(target.text) +
                      "': the output holds whole numbers, not a score per class that could be explained");
  }
  classes_last_ = given.dim() == 4 && layers.class_axis() == 3;
  const Tensor value = classes_first(given);
  dense_ = value.dim() == 4 && value.size(2) * value.size(3) > 1;
  if (value.dim() < 2 || (value.dim() > 2 && !dense_ && value.numel() != value.size(0) * value.size(1))) {
    throw_usage("target '" + printable(target.text) + "': the output has shape " + shape_text(value.sizes()) +
                ", not one score per class; use element:OUTPUT:INDICES");
  }
  if (!dense_ && !target.box.empty()) {
    throw_usage("target '" + printable(target.text) + "': the output has shape " + shape_text(value.sizes()) +
                ", one score per picture; a box needs a dense output [N,classes,H,W] (for one box of a detector: "
                "element:OUTPUT:INDICES)");
  }
  binary_ = value.size(1) == 1;
  const int64_t num_classes = binary_ ? 2 : value.size(1);
  // For a dense output, classes rank by the area where they win.
  Tensor scores;
  if (dense_) {
    const Tensor winner = binary_ ? value.select(1, 0).gt(0).to(at::kLong) : value.argmax(1);
    scores = at::stack(
        [&] {
          TensorList areas;
          for (int64_t c = 0; c < num_classes; ++c) areas.push_back(winner.eq(c).sum({1, 2}));
          return areas;
        }(),
        1);
  } else {
    scores = paired_scores(value.flatten(1));
  }
  const auto classes_for = [&](const std::string& name, int64_t rank) {
    if (rank == 0) return at::full({count_}, class_from_name(name, card, num_classes), at::kLong);
    if (rank > num_classes) {
      throw_usage("target 'top" + std::to_string(rank) + "': the model has " + std::to_string(num_classes) +
                  " classes");
    }
    return std::get<1>(scores.to(at::kCPU).to(at::kDouble).topk(rank, 1)).select(1, rank - 1).contiguous();
  };
  classes_ = classes_for(target.name, target.rank);
  if (target.kind == Kind::kDifference) {
    Target other = Target::parse(target.other);
    others_ = classes_for(other.name, other.rank);
  }
  if (dense_) {
    if (target.mask.defined()) {
      masks_ = dense_masks(target.mask, value);
    }
    if (!target.mask.defined() && !target.box.empty()) {
      masks_ = at::ones({count_, value.size(2), value.size(3)}, at::kBool).to(value.device());
    } else if (!target.mask.defined() || target.mask.dim() == 3) {
      const Tensor winner = binary_ ? value.select(1, 0).gt(0).to(at::kLong) : value.argmax(1);
      const Tensor won = winner.eq(classes_.to(value.device()).view({-1, 1, 1}));
      masks_ = masks_.defined() ? at::where(masks_.flatten(1).any(1).view({-1, 1, 1}), masks_, won) : won;
    }
    if (!target.box.empty()) {
      const Tensor box = box_mask(target.text, target.box, layers.input_shape(), card, value);
      masks_ = masks_.logical_and(box.to(value.device()).unsqueeze(0));
    }
    for (int64_t i = 0; i < count_; ++i) {
      if (!masks_[i].any().item<bool>()) {
        if (!target.box.empty()) {
          throw_usage("target '" + printable(target.text) + "': the mask is empty inside the box");
        }
        throw_usage("target '" + printable(target.text) + "': " + card.label(class_index(i)) +
                    " wins nowhere in this picture, so its mask is empty; give one with --mask");
      }
    }
  }
  for (int64_t i = 0; i < count_; ++i) {
    descriptions_.push_back(describe(i, card));
  }
}

std::string BoundTarget::describe(int64_t i, const ModelCard& card) const {
  using Kind = Target::Kind;
  std::string text = card.label(class_index(i));
  if (target_.kind == Kind::kDifference) text += " vs " + card.label(others_[i].item<int64_t>());
  if (target_.kind == Kind::kMeanDifference) text += " vs mean";
  if (!target_.box.empty()) {
    for (size_t k = 0; k < target_.box.size(); ++k) text += (k ? "," : " in ") + number_text(target_.box[k]);
  }
  return target_.probability ? "p(" + text + ")" : text;
}

int64_t BoundTarget::class_index(int64_t i) const { return classes_.defined() ? classes_[i].item<int64_t>() : -1; }

BoundTarget BoundTarget::rows(const std::vector<int64_t>& rows) const {
  BoundTarget result = *this;
  const Tensor index = at::tensor(rows, at::kLong);
  result.count_ = static_cast<int64_t>(rows.size());
  if (classes_.defined()) result.classes_ = classes_.index_select(0, index);
  if (others_.defined()) result.others_ = others_.index_select(0, index);
  if (masks_.defined()) result.masks_ = masks_.index_select(0, index.to(masks_.device()));
  result.descriptions_.clear();
  for (const int64_t r : rows) result.descriptions_.push_back(descriptions_.at(static_cast<size_t>(r)));
  return result;
}

BoundTarget BoundTarget::mirrored() const {
  const bool single = target_.kind == Target::Kind::kElement && target_.position.size() == 1;
  if (target_.kind == Target::Kind::kUnit || (target_.kind == Target::Kind::kElement && !single)) {
    throw_usage("target '" + printable(target_.text) +
                "' names a position, which mirroring the picture moves; a class or a channel was expected");
  }
  BoundTarget result = *this;
  if (masks_.defined()) result.masks_ = masks_.flip({2});
  return result;
}

/// [N, classes]: logits as they are; a single logit s stands for the pair (-s, s); dense logits are summed over the
/// mask.
Tensor BoundTarget::class_scores(const Tensor& given) const {
  const Tensor value = classes_first(given);
  return paired_scores(dense_ ? (value * masks_.unsqueeze(1).to(value.scalar_type())).sum({2, 3}) : value.flatten(1));
}

Tensor BoundTarget::classes_first(const Tensor& value) const {
  return classes_last_ ? value.permute({0, 3, 1, 2}) : value;
}

Tensor BoundTarget::score(const Tensor& value) const {
  using Kind = Target::Kind;
  switch (target_.kind) {
    case Kind::kChannel:
    case Kind::kUnit:
    case Kind::kElement: {
      Tensor t = value;
      for (const int64_t i : target_.position) t = t.select(1, i);
      return t.dim() > 1 ? t.flatten(1).sum(1) : t;
    }
    case Kind::kSimilarity:
      return at::cosine_similarity(value.flatten(1), target_.reference.to(value.options()).flatten().unsqueeze(0), 1);
    default:
      break;
  }
  if (target_.probability) return probability(value);
  const Tensor scores = class_scores(value);
  const Tensor index = classes_.to(value.device()).unsqueeze(1);
  Tensor result = scores.gather(1, index).squeeze(1);
  if (target_.kind == Kind::kDifference)
    result = result - scores.gather(1, others_.to(value.device()).unsqueeze(1)).squeeze(1);
  if (target_.kind == Kind::kMeanDifference) result = result - scores.mean(1);
  return result;
}

Tensor BoundTarget::seed(const Tensor& value) const {
  at::AutoGradMode enabled(true);
  const Tensor leaf = value.detach().requires_grad_(true);
  return torch::autograd::grad({score(leaf).sum()}, {leaf})[0];
}

Tensor BoundTarget::probability(const Tensor& given) const {
  if (!classes_.defined()) return {};
  const Tensor value = classes_first(given), index = classes_.to(value.device()).unsqueeze(1);
  if (!dense_) return class_probabilities(value.flatten(1), sigmoid_).gather(1, index).squeeze(1);
  const Tensor p = class_probabilities(value, sigmoid_);
  const Tensor m = masks_.to(value.scalar_type());
  const Tensor map =
      p.gather(1, index.view({-1, 1, 1, 1}).expand({value.size(0), 1, value.size(2), value.size(3)})).squeeze(1);
  return (map * m).sum({1, 2}) / m.sum({1, 2});
}

Tensor BoundTarget::log_probability(const Tensor& value) const {
  if (!classes_.defined()) return {};
  if (dense_) return probability(value).log();
  const Tensor index = classes_.to(value.device()).unsqueeze(1);
  const Tensor scores = value.flatten(1);
  if (sigmoid_ || scores.size(1) < 2) return log_class_probabilities(scores, sigmoid_).gather(1, index).squeeze(1);
  // log p = -softplus(logsumexp of the others - own). Its gradient is what is left to 1 times a difference of the
  // others; that of a log-softmax, 1 - p, is rounding alone where p is nearly 1.
  const Tensor others = scores.scatter(1, index, -std::numeric_limits<double>::infinity()).logsumexp(1);
  const Tensor margin = others - scores.gather(1, index).squeeze(1);
  // Further down it goes on straight, 4e-18 per logit: floats would lose the slope, and with it the direction of
  // attacks.
  constexpr double kStraight = -40;
  const Tensor straight = (margin - kStraight + 1) * std::exp(kStraight);
  return -at::where(margin < kStraight, straight, at::softplus(margin));
}

}  // namespace pellucid
