#include "tasks/evaluation_report.h"

#include <algorithm>
#include <cmath>

#include "pellucid/text.h"
#include "pellucid/version.h"
#include "tasks/card_json.h"

namespace pellucid {

namespace {

/// Three significant digits or so: enough to compare, short enough to read.
std::string short_number(double value) {
  if (value == 0 || !std::isfinite(value)) return std::isfinite(value) ? "0" : "";
  const double unit = std::pow(10.0, std::floor(std::log10(std::abs(value))) - 2);
  const double clean = std::round(value / unit) * unit;
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", clean);
  return text;
}

std::string cell_text(const EvaluatedScore& score) {
  if (score.summary.n == 0) return "-";
  std::string text = short_number(score.summary.mean);
  if (score.seed_means.size() > 1) text += " +- " + short_number(score.seed_sd);
  return text;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string csv_row(const std::vector<std::string>& fields) {
  std::string row;
  for (const std::string& field : fields) row += (row.empty() ? "" : ",") + csv_field(field);
  return row + "\n";
}

std::string csv_number(double value) { return std::isfinite(value) ? number_text(value) : ""; }

/// The first score of each metric; the others are in the files.
std::vector<size_t> headline_scores(const EvaluatedMethod& method) {
  std::vector<size_t> result;
  for (size_t s = 0; s < method.scores.size(); ++s) {
    if (s == 0 || method.scores[s].metric != method.scores[s - 1].metric) result.push_back(s);
  }
  return result;
}

/// The metric's id stands for its first score.
std::string headline_name(const EvaluatedScore& score) { return score.metric.substr(0, score.metric.find(':')); }

const EvaluatedMethod* first_judged(const EvaluatedSet& set) {
  for (const EvaluatedMethod& method : set.methods) {
    if (method.left_out.empty()) return &method;
  }
  return nullptr;
}

const char* arrow(Better better) {
  return better == Better::kHigher ? " (higher is better)" : better == Better::kLower ? " (lower is better)" : "";
}

nlohmann::ordered_json score_json(const EvaluatedScore& score) {
  nlohmann::ordered_json json{{"metric", score.metric},
                              {"score", score.spec.name},
                              {"better", better_text(score.spec.better)},
                              {"n", score.summary.n},
                              {"undefined", score.summary.undefined}};
  if (score.summary.n == 0) return json;
  json["mean"] = score.summary.mean;
  json["sd"] = score.summary.sd;
  json["standard_error"] = score.summary.standard_error;
  json["interval95"] = {score.summary.low95, score.summary.high95};
  json["median"] = score.summary.median;
  json["seed_means"] = score.seed_means;
  json["seed_sd"] = score.seed_sd;
  json["against_best"] = {{"n", score.against_best.n},
                          {"mean_difference", score.against_best.mean_difference},
                          {"interval95", {score.against_best.low95, score.against_best.high95}},
                          {"p_value", score.against_best.p_value}};
  return json;
}

/// IoU in percent by every way to choose a threshold, beside the published numbers.
std::vector<std::vector<std::string>> published_table(const EvaluatedSet& set, std::vector<std::string>& header) {
  const std::vector<std::pair<std::string, std::string>> columns{{"validated_iou", "validated threshold"},
                                                                 {"iou", "half the maximum"},
                                                                 {"mean_iou", "above the mean"},
                                                                 {"otsu_iou", "Otsu"},
                                                                 {"area_iou", "true area"}};
  header = {"method: IoU in %"};
  for (const auto& column : columns) header.push_back(column.second);
  header.emplace_back("published");
  std::vector<std::vector<std::string>> rows;
  for (const EvaluatedMethod& method : set.methods) {
    if (!method.left_out.empty()) continue;
    std::vector<std::string> row{method.method};
    for (const auto& column : columns) {
      std::string cell = "-";
      for (const EvaluatedScore& score : method.scores) {
        if (score.spec.name != column.first || score.summary.n == 0) continue;
        char text[64];
        if (score.seed_means.size() > 1) {
          std::snprintf(text, sizeof text, "%.1f +- %.2f", 100 * score.summary.mean, 100 * score.seed_sd);
        } else {
          std::snprintf(text, sizeof text, "%.1f", 100 * score.summary.mean);
        }
        cell = text;
      }
      row.push_back(cell);
    }
    const auto published = set.published.find(method.method);
    row.push_back(published == set.published.end() ? "-" : published->second);
    rows.push_back(std::move(row));
  }
  return rows;
}

void add_set(HtmlReport& page, const EvaluatedSet& set) {
  page.heading(set.name);
  page.paragraph(std::to_string(set.pictures.size()) + " pictures explained; " + std::to_string(set.num_wrong) +
                 " left out because the network answers them wrongly. Network: " + set.model + ", SHA-256 " +
                 set.model_hash + ".");
  std::vector<std::string> header;
  const auto rows = evaluation_table(set, header);
  page.table(header, rows);
  for (const EvaluatedMethod& method : set.methods) {
    if (!method.left_out.empty()) page.paragraph(method.method + " left out: " + method.left_out);
  }
}

void add_bars(HtmlReport& page, const EvaluatedSet& set) {
  const EvaluatedMethod* any = first_judged(set);
  if (!any) return;
  std::vector<HtmlReport::Figure> figures;
  for (const size_t s : headline_scores(*any)) {
    BarChart chart;
    const ScoreSpec& spec = any->scores[s].spec;
    chart.title = headline_name(any->scores[s]) + ", " + spec.name + arrow(spec.better);
    chart.value_label = "mean, 95 % interval";
    for (const EvaluatedMethod& method : set.methods) {
      if (!method.left_out.empty() || method.scores[s].summary.n == 0) continue;
      const Summary& summary = method.scores[s].summary;
      chart.bars.push_back({method.method, summary.mean, (summary.high95 - summary.low95) / 2});
    }
    std::stable_sort(chart.bars.begin(), chart.bars.end(), [&](const Bar& a, const Bar& b) {
      return spec.better == Better::kLower ? a.value < b.value : a.value > b.value;
    });
    if (!chart.bars.empty()) figures.push_back({draw_bar_chart(chart), chart.title, {spec.meaning}});
  }
  page.figures(figures);
}

void add_curves(HtmlReport& page, const EvaluatedSet& set) {
  std::map<std::string, LinePlot> plots;
  for (const EvaluatedMethod& method : set.methods) {
    for (const auto& [name, curve] : method.mean_curves) {
      LinePlot& plot = plots[name];
      plot.title = name + ", mean over pictures";
      plot.x_label = curve.x_title;
      plot.y_label = curve.y_title;
      plot.series.push_back({method.method, curve.x, curve.y});
    }
  }
  std::vector<HtmlReport::Figure> figures;
  for (const auto& [name, plot] : plots) figures.push_back({draw_line_plot(plot), name, {}});
  if (!figures.empty()) page.figures(figures);
}

}  // namespace

std::vector<std::vector<std::string>> evaluation_table(const EvaluatedSet& set, std::vector<std::string>& header) {
  header = {"method"};
  std::vector<std::vector<std::string>> rows;
  const EvaluatedMethod* any = first_judged(set);
  if (!any) return rows;
  if (!set.published.empty()) return published_table(set, header);
  const std::vector<size_t> columns = headline_scores(*any);
  for (const size_t s : columns) {
    const ScoreSpec& spec = any->scores[s].spec;
    header.push_back(headline_name(any->scores[s]) + (spec.better == Better::kHigher  ? " (+)"
                                                      : spec.better == Better::kLower ? " (-)"
                                                                                      : ""));
  }
  header.emplace_back("ms");
  for (const EvaluatedMethod& method : set.methods) {
    if (!method.left_out.empty()) continue;
    std::vector<std::string> row{method.method};
    for (const size_t s : columns) row.push_back(cell_text(method.scores[s]));
    row.push_back(short_number(method.milliseconds));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string evaluation_csv(const EvaluateResult& result) {
  std::string text =
      csv_row({"set", "method", "metric", "score", "better", "n", "undefined", "mean", "sd", "standard_error", "low95",
               "high95", "median", "seeds", "seed_sd", "difference_from_best", "p_value_against_best", "ms"});
  for (const EvaluatedSet& set : result.sets) {
    for (const EvaluatedMethod& method : set.methods) {
      for (const EvaluatedScore& score : method.scores) {
        const Summary& s = score.summary;
        const bool defined = s.n > 0;
        const auto number = [&](double v) { return defined ? csv_number(v) : std::string(); };
        text += csv_row({set.name, method.method, score.metric, score.spec.name, better_text(score.spec.better),
                         std::to_string(s.n), std::to_string(s.undefined), number(s.mean), number(s.sd),
                         number(s.standard_error), number(s.low95), number(s.high95), number(s.median),
                         std::to_string(score.seed_means.size()), number(score.seed_sd),
                         number(score.against_best.mean_difference), number(score.against_best.p_value),
                         number_text(std::round(method.milliseconds * 1000) / 1000)});
      }
    }
  }
  return text;
}

std::string picture_scores_csv(const EvaluateResult& result) {
  std::string text = csv_row({"set", "picture", "seed", "target", "probability", "method", "metric", "score", "value"});
  for (const EvaluatedSet& set : result.sets) {
    for (const EvaluatedMethod& method : set.methods) {
      for (const EvaluatedScore& score : method.scores) {
        for (size_t i = 0; i < set.pictures.size(); ++i) {
          const EvaluatedPicture& p = set.pictures[i];
          text += csv_row({set.name, p.name, std::to_string(p.seed), p.target,
                           p.probability < 0 ? "" : number_text(p.probability), method.method, score.metric,
                           score.spec.name, csv_number(score.values[i])});
        }
      }
    }
  }
  return text;
}

std::string evaluation_json(const EvaluateRequest& request, const EvaluateResult& result) {
  nlohmann::ordered_json json;
  json["pellucid"] = PELLUCID_VERSION;
  json["verb"] = "evaluate";
  if (!request.suite.empty()) json["suite"] = request.suite;
  json["methods"] = request.methods;
  json["metrics"] = request.metrics;
  json["target"] = request.target;
  if (!request.layers.empty()) json["layers"] = request.layers;
  if (!request.truth.empty()) json["truth"] = request.truth;
  if (!result.truth.path.empty()) json["truth_sha256"] = result.truth.sha256;
  if (!result.label_randomized.path.empty()) json["label_randomized"] = file_json(result.label_randomized);
  json["keep_wrong"] = request.keep_wrong;
  json["batch_size"] = request.run.batch_size;
  if (!request.suite.empty()) json["picture_size"] = request.picture_size;
  json["pictures_per_class"] = request.pictures_per_class;
  json["seed"] = request.run.seed;
  json["seeds"] = request.seeds;
  json["device"] = request.model.device;
  json["precision"] = precision_name(request.model.precision);
  json["notes"] = result.notes;
  if (!result.errors.empty()) json["errors"] = result.errors;
  json["sets"] = nlohmann::ordered_json::array();
  for (const EvaluatedSet& set : result.sets) {
    nlohmann::ordered_json s{{"name", set.name},
                             {"model", {{"path", set.model}, {"sha256", set.model_hash}}},
                             {"pictures", set.pictures.size()},
                             {"wrong_answers_left_out", set.num_wrong},
                             {"notes", set.notes}};
    for (const EvaluatedPicture& picture : set.pictures) {
      if (picture.file.path.empty()) continue;
      nlohmann::ordered_json files = file_json(picture.file);
      if (!picture.truth.path.empty()) files["truth"] = file_json(picture.truth);
      s["files"].push_back(std::move(files));
    }
    s["methods"] = nlohmann::ordered_json::array();
    for (const EvaluatedMethod& method : set.methods) {
      nlohmann::ordered_json m{{"method", method.method}, {"title", method.title}};
      if (!method.left_out.empty()) {
        m["left_out"] = method.left_out;
        s["methods"].push_back(std::move(m));
        continue;
      }
      m["milliseconds"] = std::round(method.milliseconds * 1000) / 1000;
      if (!method.notes.empty()) m["notes"] = method.notes;
      for (const EvaluatedScore& score : method.scores) m["scores"].push_back(score_json(score));
      for (const auto& [name, curve] : method.mean_curves) {
        m["curves"][name] = {{"x_title", curve.x_title}, {"y_title", curve.y_title}, {"x", curve.x}, {"y", curve.y}};
        if (!curve.labels.empty()) m["curves"][name]["labels"] = curve.labels;
      }
      s["methods"].push_back(std::move(m));
    }
    json["sets"].push_back(std::move(s));
  }
  return json_text(json);
}

std::string evaluation_html(const EvaluateRequest& request, const EvaluateResult& result,
                            const std::vector<std::vector<EvaluationGallery>>& galleries) {
  HtmlReport page("Which explanations to believe: an evaluation by Pellucid");
  for (const std::string& note : result.notes) page.paragraph(note);
  for (size_t i = 0; i < result.sets.size(); ++i) {
    const EvaluatedSet& set = result.sets[i];
    add_set(page, set);
    add_bars(page, set);
    add_curves(page, set);
    for (const EvaluationGallery& gallery : galleries[i]) {
      page.paragraph(gallery.title);
      page.figures(gallery.pictures);
    }
  }
  page.heading("What was measured");
  std::vector<std::vector<std::string>> rows;
  for (const MetricCall& call : parse_metrics(request.metrics)) {
    rows.push_back({call.text(), call.metric->title, call.metric->summary, call.metric->assumes});
  }
  page.table({"metric", "title", "what it measures", "what it assumes"}, rows);
  page.paragraph("Pellucid " PELLUCID_VERSION
                 "; every number is in table.csv, pictures.csv and result.json beside "
                 "this page.");
  return page.html();
}

}  // namespace pellucid
