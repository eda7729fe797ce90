#pragma once

// Tables, files and the page of an evaluation.

#include <string>
#include <vector>

#include "pellucid/evaluate.h"
#include "pellucid/report.h"

namespace pellucid {

/// A method's pictures as examples of how good and how bad its maps get.
struct EvaluationGallery {
  std::string title;
  std::string method;
  std::vector<HtmlReport::Figure> pictures;
};

/// The examples of one set as a picture, a row for each method.
Image evaluation_sheet(const EvaluatedSet& set, const std::vector<EvaluationGallery>& galleries);

std::string evaluation_json(const EvaluateRequest& request, const EvaluateResult& result);
/// One row per set, method and score.
std::string evaluation_csv(const EvaluateResult& result);
/// One row per set, method, score and picture.
std::string picture_scores_csv(const EvaluateResult& result);
/// `galleries[i]` belongs to `result.sets[i]`.
std::string evaluation_html(const EvaluateRequest& request, const EvaluateResult& result,
                            const std::vector<std::vector<EvaluationGallery>>& galleries);

}  // namespace pellucid
