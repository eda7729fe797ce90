#include <algorithm>

#include "pellucid/error.h"
#include "pellucid/evaluate.h"
#include "pellucid/text.h"
#include "pellucid/version.h"
#include "tasks/cam_layers.h"
#include "tasks/card_json.h"
#include "tasks/segmenter.h"

namespace pellucid {

namespace {

/// What fails on one picture fails; what applies to one picture applies.
void keep_worst(std::vector<AxiomReport>& worst, const std::vector<AxiomReport>& found) {
  if (worst.empty()) {
    worst = found;
    return;
  }
  const auto rank = [](const AxiomReport& r) {
    return r.verdict == Verdict::kFails ? 2 : r.verdict == Verdict::kHolds ? 1 : 0;
  };
  for (size_t i = 0; i < worst.size(); ++i) {
    const int64_t tried = worst[i].tried + found[i].tried;
    const bool worse =
        rank(found[i]) > rank(worst[i]) || (rank(found[i]) == rank(worst[i]) && found[i].measured > worst[i].measured);
    if (worse) worst[i] = found[i];
    worst[i].tried = tried;
  }
}

std::string axioms_json(const AxiomsRequest& request, const AxiomsResult& result, const LoadedModel& model) {
  nlohmann::ordered_json json;
  json["pellucid"] = PELLUCID_VERSION;
  json["verb"] = "axioms";
  json["model"] = {{"path", model.path}, {"sha256", model.hash()}};
  json["inputs"] = request.run.inputs;
  json["target"] = request.target;
  json["seed"] = request.run.seed;
  json["notes"] = result.notes;
  for (const AxiomsOfMethod& method : result.methods) {
    nlohmann::ordered_json m{{"method", method.method}};
    if (!method.left_out.empty()) m["left_out"] = method.left_out;
    for (const AxiomReport& r : method.reports) {
      m["axioms"].push_back({{"axiom", r.axiom},
                             {"verdict", verdict_text(r.verdict)},
                             {"measured", r.measured},
                             {"tolerance", r.tolerance},
                             {"finding", r.finding},
                             {"tried", r.tried}});
    }
    json["methods"].push_back(std::move(m));
  }
  return json_text(json);
}

}  // namespace

AxiomsResult try_axioms(const AxiomsRequest& request, Progress* progress) {
  const at::NoGradGuard no_grad;
  const std::vector<MethodCall> calls = parse_methods(request.methods);
  const Target target = Target::parse(request.target);
  std::vector<std::string> known;
  for (const Axiom& axiom : axioms()) known.push_back(axiom.id);
  for (const std::string& id : request.options.only) {
    if (std::find(known.begin(), known.end(), id) == known.end()) {
      throw_usage("no axiom '" + printable(id) + "'" + did_you_mean(id, known) + "; the axioms are " +
                  join(known, ", "));
    }
  }
  const LoadedModel model = load_model(request.model);
  AxiomsResult result;
  result.notes = model.card.notes;
  for (const MethodCall& call : calls) result.methods.push_back({call.text(), {}, ""});
  const std::vector<std::string> paths = expand_inputs(request.run.inputs);
  const std::vector<std::string> names = unique_names(paths);
  for (size_t i = 0; i < paths.size(); ++i) {
    for (const Picture& picture : load_pictures(paths[i], names[i], model, request.run.image_limits)) {
      const Tensor input =
          picture.input.to(at::TensorOptions().device(model.network.device()).dtype(model.network.dtype()));
      const LayerTable table(model.network, {input.sizes().vec()}, progress);
      const ValueId id = target_value(target, table, model.network.graph());
      Request wanted;
      wanted.capture = {id};
      const BoundTarget bound(target, table, model.card, id, model.network.run({input}, wanted, progress).at(id));
      for (size_t m = 0; m < calls.size(); ++m) {
        if (!result.methods[m].left_out.empty()) continue;
        Context context{model.network, table, model.card, input, bound};
        context.seed = request.run.seed;
        context.batch_size = request.run.batch_size;
        context.progress = progress;
        context.segmenter = superpixels_of;
        try {
          if (calls[m].method->needs & kNeedsLayer) {
            context.cam_layers = cam_layers(table, model.card, request.layers, result.notes);
          }
          AxiomOptions options = request.options;
          options.pictures = {picture.name};
          keep_worst(result.methods[m].reports, check_axioms(calls[m], context, options));
        } catch (const Error& e) {
          if (e.kind() != ErrorKind::kUsage || calls.size() == 1) throw;
          result.methods[m].left_out = e.what();
        }
      }
    }
  }
  result.json = axioms_json(request, result, model);
  return result;
}

}  // namespace pellucid
