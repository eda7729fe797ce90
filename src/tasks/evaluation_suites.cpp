#include "pellucid/error.h"
#include "pellucid/evaluate.h"
#include "pellucid/text.h"

namespace pellucid {

// To add a suite: name its data sets (ground_truth.h) and networks, and what to run by default.
const std::vector<EvaluationSuite>& evaluation_suites() {
  static const std::vector<EvaluationSuite> suites = [] {
    const std::string usual_methods =
        "gradient,saliency,gradient-x-input,smoothgrad,integrated-gradients,guided-backprop,deconvnet,grad-cam,"
        "grad-cam++,guided-grad-cam,layer-cam,xgrad-cam,hires-cam,score-cam,ablation-cam,lrp,deeplift,occlusion,"
        "activation-mean,random,edges,center";
    // The pointing game's 15 pixels are meant for photos of some 500; these pictures have a quarter of that.
    const std::string truth_metrics =
        "average-precision,iou,pointing-game:tolerance=3,relevance-mass,relevance-rank,deletion,insertion,sparseness";
    std::vector<EvaluationSuite> list;
    list.push_back({"an8flower",
                    "Flowers of which one part's color makes the class; do maps find that part?",
                    {{"an8flower-single", "flower_single_6c.onnx", 0, "flower_single_6c_shuffled.onnx"},
                     {"an8flower-double", "flower_double_12c.onnx", 0}},
                    usual_methods,
                    truth_metrics,
                    {},
                    ""});
    EvaluationSuite oramas{"oramas2019",
                           "The table of Oramas, Wang, Tuytelaars on our own flowers and networks: mean IoU",
                           {{"an8flower-single", "flower_single_6c.onnx", 0, "flower_single_6c_shuffled.onnx"},
                            {"an8flower-double", "flower_double_12c.onnx", 0}},
                           "activation-mean,guided-backprop,grad-cam,guided-grad-cam,grad-cam++,guided-grad-cam++",
                           "iou",
                           {},
                           "Oramas, Wang, Tuytelaars. \"Visual Explanation by Interpretation\". ICLR 2019; their "
                           "pictures, networks and threshold differ from ours"};
    oramas.published["an8flower-single"] = {{"activation-mean", "16.8 +- 2.63"}, {"guided-backprop", "21.3 +- 0.77"},
                                            {"grad-cam", "17.5 +- 0.25"},        {"guided-grad-cam", "19.9 +- 0.61"},
                                            {"grad-cam++", "15.6 +- 0.57"},      {"guided-grad-cam++", "19.6 +- 0.65"}};
    oramas.published["an8flower-double"] = {{"activation-mean", "16.1 +- 1.30"}, {"guided-backprop", "21.9 +- 0.72"},
                                            {"grad-cam", "14.8 +- 0.16"},        {"guided-grad-cam", "19.4 +- 0.34"},
                                            {"grad-cam++", "14.6 +- 0.12"},      {"guided-grad-cam++", "19.7 +- 0.27"}};
    list.push_back(std::move(oramas));
    list.push_back({"parts",
                    "Birds whose class is a combination of parts; is attribution shared out as deleting parts says?",
                    {{"parts", "bird_parts_16c.onnx", 0}},
                    usual_methods,
                    "part-ranks," + truth_metrics,
                    {},
                    ""});
    list.push_back({"scenes",
                    "Several flowers of different classes in a picture; is it the asked one that is found?",
                    {{"scenes", "flower_single_6c.onnx", 256}},
                    usual_methods,
                    "class-discrimination," + truth_metrics,
                    {},
                    ""});
    list.push_back({"shortcut",
                    "A network that reads a planted mark; do maps say so?",
                    {{"shortcut", "shortcut_6c.onnx", 0}},
                    usual_methods,
                    truth_metrics + ",part-ranks",
                    {},
                    ""});
    return list;
  }();
  return suites;
}

const EvaluationSuite& find_evaluation_suite(const std::string& name) {
  std::vector<std::string> names;
  for (const EvaluationSuite& suite : evaluation_suites()) {
    if (suite.name == name) return suite;
    names.push_back(suite.name);
  }
  throw_usage("no suite '" + printable(name) + "'" + did_you_mean(name, names) + "; the suites are " +
              join(names, ", "));
}

}  // namespace pellucid
