#pragma once

// `pellucid evaluate`: which explanations to believe, in numbers.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pellucid/axioms.h"
#include "pellucid/metrics.h"
#include "pellucid/statistics.h"
#include "pellucid/tasks.h"

namespace pellucid {

/// Data with known truth, the network that answers on it, and what to measure there.
struct EvaluationSuite {
  std::string name;
  std::string summary;
  struct Part {
    std::string set;    ///< Of ground_truth_sets().
    std::string model;  ///< Shipped file; trained when it is not to be found.
    int64_t size = 0;   ///< Side of the pictures in pixels; 0 takes the network's.
    /// Shipped file of the same network trained on shuffled labels, for the metric label-randomization; may be empty.
    std::string shuffled = {};
  };
  std::vector<Part> parts;
  std::string methods;  ///< Default of the request's.
  std::string metrics;
  /// Published numbers to print beside ours: part -> method id -> "mean +- sd".
  std::map<std::string, std::map<std::string, std::string>> published;
  std::string published_source;
};
/// an8flower, oramas2019, parts, scenes, shortcut.
const std::vector<EvaluationSuite>& evaluation_suites();
/// Throws Error(kUsage) that lists the names.
const EvaluationSuite& find_evaluation_suite(const std::string& name);

struct EvaluateRequest {
  ModelOptions model;  ///< With a suite: empty takes the shipped networks.
  RunOptions run;      ///< Pictures of the user's own; none with a suite.
  std::string suite;
  std::string truth;    ///< For own pictures: folder of masks, COCO JSON, or Pascal VOC folder; may be empty.
  std::string methods;  ///< Empty: the suite's, or saliency,integrated-gradients,grad-cam,random.
  std::string metrics;  ///< Empty: the suite's, or all that need no more than there is.
  std::vector<std::string> layers;  ///< For the CAM family, as in ExplainRequest.
  std::string target = "truth";     ///< For own pictures: the annotated class, or as in Target::parse.
  int64_t pictures_per_class = 4;   ///< Of each generated set and seed.
  int64_t seeds = 3;                ///< Draws of generated pictures (and of everything random), run.seed onwards.
  int64_t picture_size = 128;       ///< Where the network leaves its input size open.
  std::string models_folder;        ///< Where the shipped networks are; empty looks beside the program and in ./models.
  std::string label_randomized;     ///< ONNX network of the same architecture, trained on shuffled labels.
  bool keep_wrong = false;          ///< Also judge maps of pictures that the network gets wrong.
  std::string output;               ///< Folder; empty writes nothing.
  bool report = true;               ///< Write report.html and the sheets.
};

/// One score of one method over the pictures of one data set.
struct EvaluatedScore {
  std::string metric;  ///< Metric string with all parameters.
  ScoreSpec spec;
  std::vector<double> values;      ///< In the order of EvaluatedSet::pictures; NaN where undefined.
  Summary summary;                 ///< Over pictures.
  std::vector<double> seed_means;  ///< One per seed.
  double seed_sd = 0;              ///< Spread of the seeds' means; 0 for a single one.
  PairedComparison against_best;   ///< Against the method that is best by this score.
};
struct EvaluatedMethod {
  std::string method;  ///< Method string with all parameters.
  std::string title;
  std::vector<EvaluatedScore> scores;
  std::map<std::string, Curve> mean_curves;  ///< By "metric/curve"; curves on a common x are averaged.
  double milliseconds = 0;                   ///< Per picture, explanation alone.
  std::vector<std::string> notes;            ///< Each once.
  std::string left_out;                      ///< Why the method does not suit the network; then there are no scores.
};
struct EvaluatedPicture {
  std::string name;
  int64_t seed = 0;
  int64_t class_index = -1;
  std::string target;
  double probability = -1;
  UsedFile file, truth;  ///< Of own pictures; the truth's where each has a file of its own.
};
struct EvaluatedSet {
  std::string name;  ///< Of the generated set, or "pictures".
  std::string model;
  std::string model_hash;
  std::vector<EvaluatedPicture> pictures;
  std::map<std::string, std::string> published;  ///< Method -> what its paper's table says, in percent of IoU.
  int64_t num_wrong = 0;                         ///< Pictures left out because the network got them wrong.
  std::vector<EvaluatedMethod> methods;
  std::vector<std::string> notes;
};
struct EvaluateResult {
  std::vector<EvaluatedSet> sets;
  std::vector<std::string> notes;
  int64_t num_failed = 0;  ///< Own pictures or annotations that could not be read.
  std::vector<std::string> errors;
  UsedFile truth;             ///< When it is one file.
  UsedFile label_randomized;  ///< The network trained on shuffled labels.
  std::string json, table_file, report_file, result_file;
  std::vector<std::string> sheet_files;  ///< In the order of the sets.
};
/// Explains every picture by every method, judges each map by every metric, and writes table.csv (one row per set,
/// method and score), pictures.csv (every single score), result.json (last) and, with `report`, report.html with the
/// tables, plots and the best, median and worst picture of each method by the first metric, and these pictures as
/// SET.sheet.png. A run that was stopped goes on where it was when it is asked for again: until it is done, what has
/// been judged stays in the output folder's `records`, and the same request writes the same tables as an uninterrupted
/// run would have (with the same number of threads, to the byte).
EvaluateResult evaluate(const EvaluateRequest& request, Progress* progress = nullptr);

/// `pellucid axioms`: which axioms of attribution methods keep on a model and pictures.
struct AxiomsRequest {
  ModelOptions model;
  RunOptions run;
  std::string methods = "gradient-x-input,integrated-gradients,guided-backprop,grad-cam";
  std::vector<std::string> layers;
  std::string target = "top1";
  AxiomOptions options;
};
struct AxiomsOfMethod {
  std::string method;
  std::vector<AxiomReport> reports;  ///< The worst over all pictures.
  std::string left_out;              ///< Why the method does not suit the network.
};
struct AxiomsResult {
  std::vector<AxiomsOfMethod> methods;
  std::vector<std::string> notes;
  std::string json;
};
/// Throws Error(kInvalidInput) for a picture that cannot be read.
AxiomsResult try_axioms(const AxiomsRequest& request, Progress* progress = nullptr);

/// A table of the first scores, methods down, metrics across; "mean +- sd over seeds".
std::vector<std::vector<std::string>> evaluation_table(const EvaluatedSet& set, std::vector<std::string>& header);

}  // namespace pellucid
