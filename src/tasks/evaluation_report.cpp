#include "tasks/evaluation_report.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "pellucid/text.h"
#include "pellucid/version.h"
#include "tasks/card_json.h"
#include "tasks/evaluation_scores.h"

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

/// What the metrics of a table are called; the name of a metric stands for its first score.
std::map<std::string, std::string> names_of(const EvaluatedMethod& method) {
  std::vector<std::string> metrics;
  for (const EvaluatedScore& score : method.scores) metrics.push_back(score.metric);
  return short_names(metrics);
}

bool is_better(const EvaluatedScore& a, const EvaluatedScore& b) {
  return a.spec.better == Better::kLower ? a.summary.mean < b.summary.mean : a.summary.mean > b.summary.mean;
}

/// Maps of the picture or of nothing, which the others have to beat.
bool is_baseline(const EvaluatedMethod& method) {
  return MethodCall::parse(method.method).method->family == "baseline";
}

const EvaluatedMethod* first_judged(const EvaluatedSet& set) {
  for (const EvaluatedMethod& method : set.methods) {
    if (method.left_out.empty()) return &method;
  }
  return nullptr;
}

const char* direction(Better better) {
  return better == Better::kHigher ? " (higher is better)" : better == Better::kLower ? " (lower is better)" : "";
}

/// Help texts have code in backticks.
std::string without_backticks(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), '`'), text.end());
  return text;
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

/// Cells of the best method of each column; the table's columns are the method and then `scores`.
std::set<std::pair<size_t, size_t>> best_cells(const EvaluatedSet& set, const std::vector<size_t>& scores) {
  std::set<std::pair<size_t, size_t>> cells;
  for (size_t column = 0; column < scores.size(); ++column) {
    const EvaluatedScore* best = nullptr;
    size_t row = 0, best_row = 0;
    for (const EvaluatedMethod& method : set.methods) {
      if (!method.left_out.empty()) continue;
      const EvaluatedScore& score = method.scores[scores[column]];
      if (score.summary.n > 0 && score.spec.better != Better::kNeither && (!best || is_better(score, *best))) {
        best = &score;
        best_row = row;
      }
      ++row;
    }
    if (best) cells.insert({best_row, column + 1});
  }
  return cells;
}

void add_set(HtmlReport& page, const EvaluateRequest& request, const EvaluatedSet& set) {
  page.heading(set.name);
  std::string about = std::to_string(set.pictures.size()) + " pictures explained; " + std::to_string(set.num_wrong) +
                      " left out because the network answers them wrongly.";
  if (!request.suite.empty()) {
    about += " Suite " + request.suite + ": " + std::to_string(request.pictures_per_class) +
             " pictures of each class in each of " + std::to_string(request.seeds) +
             " seeds; numbers are means, \u00b1 the standard deviation of the seeds' means.";
  }
  page.paragraph(about + " The best of each column is bold. Network: " + set.model + ", SHA-256 " + set.model_hash +
                 ".");
  for (const std::string& note : set.notes) page.paragraph("Note: " + note + ".");
  std::vector<std::string> header;
  auto rows = evaluation_table(set, header);
  for (auto& row : rows) {
    for (std::string& cell : row) {
      if (const size_t at = cell.find("+-"); at != std::string::npos) cell.replace(at, 2, "\u00b1");
    }
  }
  const EvaluatedMethod* any = first_judged(set);
  page.table(
      header, rows,
      any && set.published.empty() ? best_cells(set, headline_scores(*any)) : std::set<std::pair<size_t, size_t>>{});
  for (const EvaluatedMethod& method : set.methods) {
    if (!method.left_out.empty()) page.paragraph(method.method + " left out: " + method.left_out);
  }
}

void add_bars(HtmlReport& page, const EvaluatedSet& set) {
  const EvaluatedMethod* any = first_judged(set);
  if (!any) return;
  std::vector<HtmlReport::Figure> figures;
  const auto names = names_of(*any);
  for (const size_t s : headline_scores(*any)) {
    BarChart chart;
    const ScoreSpec& spec = any->scores[s].spec;
    chart.title = names.at(any->scores[s].metric) + direction(spec.better);
    chart.value_label = spec.name + ", mean and 95 % interval";
    for (const EvaluatedMethod& method : set.methods) {
      if (!method.left_out.empty() || method.scores[s].summary.n == 0) continue;
      const Summary& summary = method.scores[s].summary;
      chart.bars.push_back({method.method, summary.mean, (summary.high95 - summary.low95) / 2});
    }
    std::stable_sort(chart.bars.begin(), chart.bars.end(), [&](const Bar& a, const Bar& b) {
      return spec.better == Better::kLower ? a.value < b.value : a.value > b.value;
    });
    if (!chart.bars.empty()) figures.push_back({draw_bar_chart(chart), "", {without_backticks(spec.meaning)}});
  }
  page.plots(figures);
}

/// Methods whose curves fit into one plot: the best by the metric's first score, and the baselines.
std::vector<const EvaluatedMethod*> to_plot(const EvaluatedSet& set, const std::string& curve) {
  constexpr size_t kMost = 10;
  std::vector<const EvaluatedMethod*> methods, baselines;
  for (const EvaluatedMethod& method : set.methods) {
    if (method.mean_curves.count(curve)) (is_baseline(method) ? baselines : methods).push_back(&method);
  }
  if (methods.size() > kMost) {
    const std::string metric = curve.substr(0, curve.rfind('/'));
    const auto first_score = [&](const EvaluatedMethod& method) -> const EvaluatedScore* {
      const auto names = names_of(method);
      for (const EvaluatedScore& score : method.scores) {
        if (names.at(score.metric) == metric) return &score;
      }
      return nullptr;
    };
    std::stable_sort(methods.begin(), methods.end(), [&](const EvaluatedMethod* a, const EvaluatedMethod* b) {
      const EvaluatedScore *x = first_score(*a), *y = first_score(*b);
      return x && y && is_better(*x, *y);
    });
    methods.resize(kMost);
  }
  methods.insert(methods.end(), baselines.begin(), baselines.end());
  return methods;
}

void add_curves(HtmlReport& page, const EvaluatedSet& set) {
  std::map<std::string, size_t> available;
  for (const EvaluatedMethod& method : set.methods) {
    for (const auto& [name, curve] : method.mean_curves) ++available[name];
  }
  std::vector<HtmlReport::Figure> figures;
  for (const auto& [name, count] : available) {
    LinePlot plot;
    const size_t slash = name.rfind('/');
    const std::string metric = name.substr(0, slash), curve_name = name.substr(slash + 1);
    plot.title = (metric == curve_name ? metric : metric + ": " + curve_name) + ", mean over pictures";
    plot.width = 760;
    for (const EvaluatedMethod* method : to_plot(set, name)) {
      const Curve& curve = method->mean_curves.at(name);
      plot.x_label = curve.x_title;
      plot.y_label = curve.y_title;
      plot.series.push_back({method->method, curve.x, curve.y});
    }
    std::vector<std::string> caption;
    if (plot.series.size() < count) {
      caption.push_back("The best by " + metric + " and the baselines, " + std::to_string(plot.series.size()) + " of " +
                        std::to_string(count) + " methods; all curves are in result.json.");
    }
    figures.push_back({draw_line_plot(plot), "", std::move(caption)});
  }
  if (!figures.empty()) page.plots(figures);
}

}  // namespace

std::vector<std::vector<std::string>> evaluation_table(const EvaluatedSet& set, std::vector<std::string>& header) {
  header = {"method"};
  std::vector<std::vector<std::string>> rows;
  const EvaluatedMethod* any = first_judged(set);
  if (!any) return rows;
  if (!set.published.empty()) return published_table(set, header);
  const std::vector<size_t> columns = headline_scores(*any);
  const auto names = names_of(*any);
  for (const size_t s : columns) {
    const ScoreSpec& spec = any->scores[s].spec;
    header.push_back(names.at(any->scores[s].metric) + (spec.better == Better::kHigher  ? " (+)"
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
               "high95", "median", "seeds", "seed_sd", "difference_from_best", "p_value_against_best"});
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
                         number(score.against_best.mean_difference), number(score.against_best.p_value)});
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

Image evaluation_sheet(const EvaluatedSet& set, const std::vector<EvaluationGallery>& galleries) {
  ContactSheet sheet;
  sheet.title = set.name;
  std::string score;
  for (const EvaluatedMethod& method : set.methods) {
    if (score.empty() && !method.scores.empty()) score = method.scores.front().spec.name;
  }
  sheet.subtitle = "best, median and worst of " + std::to_string(set.pictures.size()) + " pictures by " + score +
                   "; outlined: the truth";
  sheet.min_cell_px = 128;
  sheet.max_cell_px = 224;
  for (const EvaluationGallery& gallery : galleries) {
    for (size_t i = 0; i < gallery.pictures.size(); ++i) {
      SheetCell cell;
      cell.image = gallery.pictures[i].image;
      cell.title = gallery.method;
      cell.lines = gallery.pictures[i].lines;
      cell.new_row = i == 0;
      sheet.cells.push_back(std::move(cell));
    }
  }
  return draw_contact_sheet(sheet);
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
    add_set(page, request, set);
    add_bars(page, set);
    add_curves(page, set);
    if (!galleries[i].empty()) {
      page.heading(set.name + ": examples");
      page.paragraph("By the first score of the table; the outline is the truth.");
    }
    for (const EvaluationGallery& gallery : galleries[i]) {
      page.paragraph(gallery.title);
      page.figures(gallery.pictures);
    }
  }
  page.heading("What was measured");
  std::vector<std::vector<std::string>> rows;
  for (const MetricCall& call : parse_metrics(request.metrics)) {
    rows.push_back({call.text(), call.metric->title, call.metric->summary, without_backticks(call.metric->assumes)});
  }
  page.table({"metric", "title", "what it measures", "what it assumes"}, rows);
  page.paragraph("Pellucid " PELLUCID_VERSION
                 "; every number is in table.csv, pictures.csv and result.json beside "
                 "this page.");
  return page.html();
}

}  // namespace pellucid
